# SPDX-License-Identifier: MIT
"""Neighborhood attention as functions. Tensors are heads-last: `[B, *S, heads, dim]`.

`stride` here is the one of natten-mps: only every stride-th query is computed, so that outputs have
`ceil(length / stride)` positions an axis. Parameters of a window are one value or one an axis.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import checks, ops
from ._predecessor_ops import register
from .utils.params import make_window

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

Ints = int | Sequence[int]
Bools = bool | Sequence[bool]
Result = Tensor | tuple[Tensor, Tensor]


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


def _varlen(
    rank: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sizes: Tensor,
    kernel_size: Ints,
    dilation: Ints,
    scale: float | None,
    stride: Ints,
    is_causal: Bools,
    return_lse: bool,
    additional_keys: Tensor | None,
    additional_values: Tensor | None,
) -> Result:
    name = f"na{rank}d_varlen"
    checks.tensors(name, query=query, key=key, value=value)
    window = make_window(rank, kernel_size, dilation, stride, is_causal)
    checks.varlen(name, query.shape, key.shape, value.shape, window)
    checks.additional(query, value, additional_keys, additional_values)
    attend = ops.attn if return_lse else ops.attn_out
    return attend(
        query,
        key,
        value,
        window=window,
        scale=scale,
        extra_key=additional_keys,
        extra_value=additional_values,
        sizes=checks.sizes(sizes, query.shape[0], query.shape[1:-2], window),
    )


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


def na1d_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_lens: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: float | None = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
) -> Result:
    """na1d on a padded batch whose samples have the sizes seq_lens, int32 or int64 `[B]`.

    Each sample is computed as if it were alone and not padded. Padding is never seen; outputs and
    gradients there are 0, and lse is -inf. Otherwise as na1d.
    """
    return _varlen(
        1,
        query,
        key,
        value,
        seq_lens,
        kernel_size,
        dilation,
        scale,
        stride,
        is_causal,
        return_lse,
        additional_keys,
        additional_values,
    )


def na2d_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spatial_sizes: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: float | None = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
) -> Result:
    """na2d on a padded batch whose samples have the sizes spatial_sizes, int32 or int64 `[B, 2]`.

    Each sample is computed as if it were alone and not padded. Padding is never seen; outputs and
    gradients there are 0, and lse is -inf. Otherwise as na2d.
    """
    return _varlen(
        2,
        query,
        key,
        value,
        spatial_sizes,
        kernel_size,
        dilation,
        scale,
        stride,
        is_causal,
        return_lse,
        additional_keys,
        additional_values,
    )


def na3d_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spatial_sizes: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: float | None = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
) -> Result:
    """na3d on a padded batch whose samples have the sizes spatial_sizes, int32 or int64 `[B, 3]`.

    Each sample is computed as if it were alone and not padded. Padding is never seen; outputs and
    gradients there are 0, and lse is -inf. Otherwise as na3d.
    """
    return _varlen(
        3,
        query,
        key,
        value,
        spatial_sizes,
        kernel_size,
        dilation,
        scale,
        stride,
        is_causal,
        return_lse,
        additional_keys,
        additional_values,
    )


def na1d_packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lens: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: float | None = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
) -> Result:
    """na1d on sequences that stand one behind the other, without padding between them.

    query `[total, heads, dim]`, key and value `[total, kv_heads, ...]`; cumulative_lens
    `[B + 1]`, int32 or int64: sequence b is at `cumulative_lens[b] : cumulative_lens[b + 1]`.
    Returns out `[sum of ceil(length / stride), heads, value_dim]`, with return_lse also lse.
    """
    checks.tensors("na1d_packed", query=query, key=key, value=value)
    begins, lens = checks.packed(query.shape, key.shape, value.shape, cumulative_lens)
    longest = int(lens.max()) if len(lens) else 0
    step = stride if isinstance(stride, int) else stride[0]
    place = torch.arange(longest, device=begins.device)
    index = (begins[:, None] + place).clamp(max=len(query) - 1).to(query.device)
    out, lse = _varlen(
        1,
        query[index],
        key[index],
        value[index],
        lens,
        kernel_size,
        dilation,
        scale,
        stride,
        is_causal,
        True,
        None,
        None,
    )
    kept = (place[None, ::step] < lens[:, None]).to(query.device)
    return (out[kept], lse[kept]) if return_lse else out[kept]


register(1, na1d_qk, na1d_av, na1d, na1d_varlen)
register(2, na2d_qk, na2d_av, na2d, na2d_varlen)
register(3, na3d_qk, na3d_av, na3d, na3d_varlen)
