# SPDX-License-Identifier: MIT
"""Operation counts from shapes, and for fvcore, which is only needed to count a model."""

from collections.abc import Sequence
from math import prod
from typing import Any

from .._common.flops import add_handles, av_macs, count, qk_macs

_HANDLES = {
    f"NeighborhoodAttention{rank}D{kind}AutogradFunction": handle
    for rank in (1, 2, 3)
    for kind, handle in (("QK", qk_macs), ("AV", av_macs))
} | {
    f"NATTEN{rank}D{kind}Function": handle
    for rank in (1, 2, 3)
    for kind, handle in (("QKRPB", qk_macs), ("AV", av_macs))
}


def _count(shape: Sequence[int], kernel_size: Sequence[int], return_macs: bool) -> int:
    """One product of queries or values [B, ..., D] with each window; masks count as work."""
    return prod(shape) * prod(kernel_size) * (1 if return_macs else 2)


def na_qk_flop_count(
    q_shape: Sequence[int],
    k_shape: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    is_causal: Sequence[bool],
    is_heads_last: bool,
    return_macs: bool = False,
) -> int:
    """Operations of the logits."""
    _check_same(q_shape, k_shape)
    return _count(q_shape, kernel_size, return_macs)


def na_av_flop_count(
    a_shape: Sequence[int],
    v_shape: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    is_causal: Sequence[bool],
    is_heads_last: bool,
    return_macs: bool = False,
) -> int:
    """Operations of applying weights to values."""
    return _count(v_shape, kernel_size, return_macs)


def fna_flop_count(
    q_shape: Sequence[int],
    k_shape: Sequence[int],
    v_shape: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    is_causal: Sequence[bool],
    is_heads_last: bool,
    return_macs: bool = False,
) -> int:
    """Operations of fused attention, softmax and bias left out."""
    _check_same(q_shape, k_shape)
    _check_same(q_shape, v_shape)
    return 2 * _count(q_shape, kernel_size, return_macs)


def _check_same(first: Sequence[int], second: Sequence[int]) -> None:
    if tuple(first) != tuple(second):
        raise AssertionError(f"Expected identical shapes, got {first} and {second}.")


def add_natten_handle(flop_ctr: Any) -> Any:
    """Lets an fvcore FlopCountAnalysis count neighborhood attention; returns it."""
    return add_handles(flop_ctr, _HANDLES)


def get_flops(model: Any, input: Any, disable_warnings: bool = False) -> float:
    """Multiply-accumulates of ``model(input)``."""
    return count(model, input, _HANDLES, disable_warnings)
