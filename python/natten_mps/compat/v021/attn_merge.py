# SPDX-License-Identifier: MIT
"""Merging attentions of the same queries over disjoint sets of keys."""

from torch import Tensor

from .._common.gna import merging


def merge_attentions(
    outputs: list[Tensor],
    lse_tensors: list[Tensor],
    torch_compile: bool = True,
    use_autograd_fix: bool = True,
) -> tuple[Tensor, Tensor]:
    """Output [B, S, H, D] and lse [B, S, H] of one softmax over all the attentions' keys, of two
    or more outputs and lses. The gradients are those of the formula in either case."""
    return merging.merge_attentions(outputs, lse_tensors)
