# SPDX-License-Identifier: MIT
"""Neighborhood attention as functions. Tensors are heads-last: `[B, *S, heads, dim]`.

`stride` here is the one of natten-mps: only every stride-th query is computed, so that outputs have
`ceil(length / stride)` positions an axis. Parameters of a window are one value or one an axis.
"""

from torch import Tensor

from . import checks, ops
from ._predecessor_ops import register
from .utils.params import Bools, Ints, make_window
from .varlen import Result, na1d_packed, na1d_varlen, na2d_varlen, na3d_varlen

__all__ = [
    "na1d",
    "na1d_av",
    "na1d_packed",
    "na1d_qk",
    "na1d_varlen",
    "na2d",
    "na2d_av",
    "na2d_qk",
    "na2d_varlen",
    "na3d",
    "na3d_av",
    "na3d_qk",
    "na3d_varlen",
]


def _fused(
    rank: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Ints,
    stride: Ints,
    dilation: Ints,
    is_causal: Bools,
    scale: float | None,
    return_lse: bool,
    additional_keys: Tensor | None,
    additional_values: Tensor | None,
    rpb: Tensor | None,
) -> Result:
    name = f"na{rank}d"
    checks.tensors(name, query=query, key=key, value=value)
    window = make_window(rank, kernel_size, dilation, stride, is_causal)
    checks.fused(name, query.shape, key.shape, value.shape, window)
    checks.additional(query, value, additional_keys, additional_values)
    attend = ops.attn if return_lse else ops.attn_out
    return attend(
        query,
        key,
        value,
        window=window,
        scale=scale,
        rpb=rpb,
        extra_key=additional_keys,
        extra_value=additional_values,
    )


def _qk(
    rank: int,
    query: Tensor,
    key: Tensor,
    kernel_size: Ints,
    dilation: Ints,
    stride: Ints,
    is_causal: Bools,
    scale: float | None,
    rpb: Tensor | None,
    additional_keys: Tensor | None,
) -> Tensor:
    name = f"na{rank}d_qk"
    checks.tensors(name, query=query, key=key)
    window = make_window(rank, kernel_size, dilation, stride, is_causal)
    checks.qk(name, query.shape, key.shape, window)
    return ops.qk(query, key, window=window, scale=scale, rpb=rpb, extra_key=additional_keys)


def _av(
    rank: int,
    attn: Tensor,
    value: Tensor,
    kernel_size: Ints,
    dilation: Ints,
    stride: Ints,
    is_causal: Bools,
    additional_values: Tensor | None,
) -> Tensor:
    name = f"na{rank}d_av"
    checks.tensors(name, attn=attn, value=value)
    window = make_window(rank, kernel_size, dilation, stride, is_causal)
    extra = 0 if additional_values is None else additional_values.shape[1]
    checks.av(name, attn.shape, value.shape, window, extra)
    return ops.av(attn, value, window=window, extra_value=additional_values)


def na1d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Ints,
    stride: Ints = 1,
    dilation: Ints = 1,
    is_causal: Bools = False,
    scale: float | None = None,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    *,
    rpb: Tensor | None = None,
) -> Result:
    """Fused 1-D neighborhood attention.

    query `[B, L, heads, dim]`; key `[B, L, kv_heads, dim]` and value
    `[B, L, kv_heads, value_dim]`, where kv_heads divides heads. additional_keys and
    additional_values `[B, N, kv_heads, dim or value_dim]` are seen by every query; rpb
    `[heads, 2K-1]` is added to the scaled logits. `scale` None is `dim ** -0.5`.
    Returns out `[B, L', heads, value_dim]`, with return_lse also the log-sum-exp
    `[B, L', heads]` (float32, or float64 for float64), through which gradients flow too.
    """
    return _fused(
        1,
        query,
        key,
        value,
        kernel_size,
        stride,
        dilation,
        is_causal,
        scale,
        return_lse,
        additional_keys,
        additional_values,
        rpb,
    )


def na2d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Ints,
    stride: Ints = 1,
    dilation: Ints = 1,
    is_causal: Bools = False,
    scale: float | None = None,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    *,
    rpb: Tensor | None = None,
) -> Result:
    """Fused 2-D neighborhood attention.

    query `[B, H, W, heads, dim]`; key `[B, H, W, kv_heads, dim]` and value
    `[B, H, W, kv_heads, value_dim]`, where kv_heads divides heads. additional_keys and
    additional_values `[B, N, kv_heads, dim or value_dim]` are seen by every query; rpb
    `[heads, 2K-1, 2K-1]` is added to the scaled logits. `scale` None is `dim ** -0.5`.
    Returns out `[B, H', W', heads, value_dim]`, with return_lse also the log-sum-exp
    `[B, H', W', heads]` (float32, or float64 for float64), through which gradients flow too.
    """
    return _fused(
        2,
        query,
        key,
        value,
        kernel_size,
        stride,
        dilation,
        is_causal,
        scale,
        return_lse,
        additional_keys,
        additional_values,
        rpb,
    )


def na3d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Ints,
    stride: Ints = 1,
    dilation: Ints = 1,
    is_causal: Bools = False,
    scale: float | None = None,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    *,
    rpb: Tensor | None = None,
) -> Result:
    """Fused 3-D neighborhood attention.

    query `[B, D, H, W, heads, dim]`; key `[B, D, H, W, kv_heads, dim]` and value
    `[B, D, H, W, kv_heads, value_dim]`, where kv_heads divides heads. additional_keys and
    additional_values `[B, N, kv_heads, dim or value_dim]` are seen by every query; rpb
    `[heads, 2K-1, 2K-1, 2K-1]` is added to the scaled logits. `scale` None is `dim ** -0.5`.
    Returns out `[B, D', H', W', heads, value_dim]`, with return_lse also the log-sum-exp
    `[B, D', H', W', heads]` (float32, or float64 for float64), through which gradients flow too.
    """
    return _fused(
        3,
        query,
        key,
        value,
        kernel_size,
        stride,
        dilation,
        is_causal,
        scale,
        return_lse,
        additional_keys,
        additional_values,
        rpb,
    )


def na1d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    scale: float | None = None,
    rpb: Tensor | None = None,
    additional_keys: Tensor | None = None,
) -> Tensor:
    """Logits of 1-D neighborhood attention: `[B, L', heads, prod(kernel_size) + N]`.

    query `[B, L, heads, dim]`, key `[B, L, kv_heads, dim]`, additional_keys
    `[B, N, kv_heads, dim]`, rpb `[heads, 2K-1]`. `scale` None is 1.
    Slots are in ascending order of keys, the last axis fastest; masked ones are -inf and come
    first; additional keys come last.
    """
    return _qk(1, query, key, kernel_size, dilation, stride, is_causal, scale, rpb, additional_keys)


def na1d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    additional_values: Tensor | None = None,
) -> Tensor:
    """Values `[B, L, kv_heads, dim]` summed by the weights that na1d_qk's slots describe.

    attn `[B, L', heads, prod(kernel_size) + N]`, additional_values `[B, N, kv_heads, dim]`.
    Weights of masked slots are ignored. Returns `[B, L', heads, dim]`.
    """
    return _av(1, attn, value, kernel_size, dilation, stride, is_causal, additional_values)


def na2d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    scale: float | None = None,
    rpb: Tensor | None = None,
    additional_keys: Tensor | None = None,
) -> Tensor:
    """Logits of 2-D neighborhood attention: `[B, H', W', heads, prod(kernel_size) + N]`.

    query `[B, H, W, heads, dim]`, key `[B, H, W, kv_heads, dim]`, additional_keys
    `[B, N, kv_heads, dim]`, rpb `[heads, 2K-1, 2K-1]`. `scale` None is 1.
    Slots are in ascending order of keys, the last axis fastest; masked ones are -inf and come
    first; additional keys come last.
    """
    return _qk(2, query, key, kernel_size, dilation, stride, is_causal, scale, rpb, additional_keys)


def na2d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    additional_values: Tensor | None = None,
) -> Tensor:
    """Values `[B, H, W, kv_heads, dim]` summed by the weights that na2d_qk's slots describe.

    attn `[B, H', W', heads, prod(kernel_size) + N]`, additional_values `[B, N, kv_heads, dim]`.
    Weights of masked slots are ignored. Returns `[B, H', W', heads, dim]`.
    """
    return _av(2, attn, value, kernel_size, dilation, stride, is_causal, additional_values)


def na3d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    scale: float | None = None,
    rpb: Tensor | None = None,
    additional_keys: Tensor | None = None,
) -> Tensor:
    """Logits of 3-D neighborhood attention: `[B, D', H', W', heads, prod(kernel_size) + N]`.

    query `[B, D, H, W, heads, dim]`, key `[B, D, H, W, kv_heads, dim]`, additional_keys
    `[B, N, kv_heads, dim]`, rpb `[heads, 2K-1, 2K-1, 2K-1]`. `scale` None is 1.
    Slots are in ascending order of keys, the last axis fastest; masked ones are -inf and come
    first; additional keys come last.
    """
    return _qk(3, query, key, kernel_size, dilation, stride, is_causal, scale, rpb, additional_keys)


def na3d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    additional_values: Tensor | None = None,
) -> Tensor:
    """Values `[B, D, H, W, kv_heads, dim]` summed by the weights that na3d_qk's slots describe.

    attn `[B, D', H', W', heads, prod(kernel_size) + N]`, additional_values `[B, N, kv_heads, dim]`.
    Weights of masked slots are ignored. Returns `[B, D', H', W', heads, dim]`.
    """
    return _av(3, attn, value, kernel_size, dilation, stride, is_causal, additional_values)


register(1, na1d_qk, na1d_av, na1d, na1d_varlen)
register(2, na2d_qk, na2d_av, na2d, na2d_varlen)
register(3, na3d_qk, na3d_av, na3d, na3d_varlen)
