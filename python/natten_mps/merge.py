# SPDX-License-Identifier: MIT
"""Merges attentions of the same queries over disjoint sets of keys."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ._carriers import explained, refuse


@explained
def merge_attentions(
    outputs: Sequence[Tensor], lse_tensors: Sequence[Tensor], use_autograd_fix: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the attention over the union of the key sets, and its log-sum-exp.

    Args:
        outputs: two or more attentions of the same queries, of one shape `[..., D]`.
        lse_tensors: the natural log-sum-exp `[...]` of each.
        use_autograd_fix: accepted for compatibility; gradients always follow the formula.

    Returns:
        The merged output, with the dtype of the first one, and its log-sum-exp in float32 (float64
        for float64). Both are differentiable with respect to all arguments. Where every lse is
        -inf, which means that there are no keys, the output is 0 and lse is -inf.

    Raises:
        ValueError: if there are fewer than two outputs, or shapes do not match.

    Examples:
        >>> import torch
        >>> from natten_mps import merge_attentions, na2d
        >>> x = torch.randn(1, 8, 8, 2, 4)
        >>> near = na2d(x, x, x, kernel_size=3, return_lse=True)
        >>> far = na2d(x, x, x, kernel_size=3, dilation=2, return_lse=True)
        >>> merge_attentions(*zip(near, far))[0].shape
        torch.Size([1, 8, 8, 2, 4])
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
    for name, tensors in (("outputs", outputs), ("lse_tensors", lse_tensors)):
        for i, t in enumerate(tensors):
            if not torch.compiler.is_compiling():
                refuse({f"{name}[{i}]": t})
            if not t.is_floating_point():
                raise NotImplementedError(
                    f"{name}[{i}] is {t.dtype} (want one of float16, bfloat16, float32, float64)"
                )
            if t.device != outputs[0].device:
                raise ValueError(
                    f"{name}[{i}] is on {t.device} but outputs[0] is on {outputs[0].device} (want"
                    " one device)"
                )
    shape = outputs[0].shape
    for i, (output, lse) in enumerate(zip(outputs, lse_tensors, strict=True)):
        if output.shape != shape:
            raise ValueError(
                f"Output {i} shape {output.shape} does not match output 0 shape {shape}."
            )
        if lse.shape != shape[:-1]:
            raise ValueError(f"LSE {i} shape {lse.shape} does not match expected {shape[:-1]}.")
