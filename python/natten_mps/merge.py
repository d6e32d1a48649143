# SPDX-License-Identifier: MIT
"""Merging attentions of the same queries over disjoint sets of keys."""

from collections.abc import Sequence

import torch
from torch import Tensor


def merge_attentions(
    outputs: Sequence[Tensor], lse_tensors: Sequence[Tensor], use_autograd_fix: bool = True
) -> tuple[Tensor, Tensor]:
    """The attention over the union of the key sets, and its log-sum-exp.

    outputs: two or more of one shape `[..., D]`; lse_tensors: their `[...]` natural-log sums. The
    result has the dtype of the first output and lse is float32 (float64 for float64). Sums are
    taken in lse's dtype. Differentiable in all arguments, for any number of them. Where every lse
    is -inf (no keys at all) the output is 0 and lse -inf. `use_autograd_fix` is accepted for
    compatibility and changes nothing: gradients are always those of the formula.
    """
    _check(outputs, lse_tensors)
    wide = torch.float64 if outputs[0].dtype == torch.float64 else torch.float32
    lse = torch.stack([t.to(wide) for t in lse_tensors])
    top = lse.detach().amax(0)
    top = top.masked_fill(top == -torch.inf, 0)
    weights = (lse - top).exp()
    total = weights.sum(0)
    empty = total == 0
    total = total.masked_fill(empty, 1)
    merged = sum(
        (w / total).unsqueeze(-1) * t.to(wide) for w, t in zip(weights, outputs, strict=True)
    )
    assert isinstance(merged, Tensor)
    merged_lse = (total.log() + top).masked_fill(empty, -torch.inf)
    return merged.to(outputs[0].dtype), merged_lse


def _check(outputs: Sequence[Tensor], lse_tensors: Sequence[Tensor]) -> None:
    if len(outputs) < 2:
        raise ValueError("merge_attentions expects at least two outputs.")
    if len(outputs) != len(lse_tensors):
        raise ValueError("Number of outputs and LSE tensors must match.")
    shape = outputs[0].shape
    for i, (output, lse) in enumerate(zip(outputs, lse_tensors, strict=True)):
        if output.shape != shape:
            raise ValueError(
                f"Output {i} shape {output.shape} does not match output 0 shape {shape}."
            )
        if lse.shape != shape[:-1]:
            raise ValueError(f"LSE {i} shape {lse.shape} does not match expected {shape[:-1]}.")
