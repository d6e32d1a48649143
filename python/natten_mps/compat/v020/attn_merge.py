# SPDX-License-Identifier: MIT
"""Merging attentions of the same queries over disjoint sets of keys."""

from torch import Tensor

from .._common.gna import merging


def merge_attentions(
    outputs: list[Tensor], lse_tensors: list[Tensor], torch_compile: bool = True
) -> Tensor:
    """Output [B, S, H, D] of one softmax over all the attentions' keys, of two or more outputs
    [B, S, H, D] and lses [B, S, H]."""
    out, _ = merging.merge_attentions(outputs, lse_tensors)
    return out
