# SPDX-License-Identifier: MIT
"""Neighborhood attention of NATTEN 0.21, heads last.

`stride` lets neighbouring queries share a window; outputs have as many positions as queries.
Arguments from `backend` to `torch_compile` steer CUDA kernels; they are checked, and otherwise
change nothing.
"""

from typing import Any

from torch import Tensor

from .._common.attention import attention as full_attention
from .._common.gna import arguments, attend, tensors, varlen
from .._common.modules import default_scale
from .attn_merge import merge_attentions as merge_attentions
from .types import (
    CausalArg1DTypeOrDed,
    CausalArg2DTypeOrDed,
    CausalArg3DTypeOrDed,
    CausalArgTypeOrDed,
    Dimension1DTypeOrDed,
    Dimension2DTypeOrDed,
    Dimension3DTypeOrDed,
    DimensionTypeOrDed,
    KernelSchedule,
)


def neighborhood_attention_generic(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: DimensionTypeOrDed,
    stride: DimensionTypeOrDed = 1,
    dilation: DimensionTypeOrDed = 1,
    is_causal: CausalArgTypeOrDed | None = False,
    scale: float | None = None,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    attention_kwargs: dict[str, Any] | None = None,
    backend: str | None = None,
    q_tile_shape: Any = None,
    kv_tile_shape: Any = None,
    backward_q_tile_shape: Any = None,
    backward_kv_tile_shape: Any = None,
    backward_kv_splits: Any = None,
    backward_use_pt_reduction: bool = False,
    run_persistent_kernel: bool = True,
    kernel_schedule: str | KernelSchedule | None = None,
    torch_compile: bool = False,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of query [B, axes..., H, D], key [B, axes..., Hkv, D] and value
    [B, axes..., Hkv, Dv]; with lse [B, axes..., H] if `return_lse`."""
    where = (kernel_size, stride, dilation, is_causal)
    additional = (additional_keys, additional_values)
    steering = attend.Steering(
        attention_kwargs, backend, q_tile_shape, kv_tile_shape, kernel_schedule
    )
    result = attend.neighborhood_attention(query, key, value, where, scale, additional, steering)
    return result if return_lse else result[0]


def na1d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Dimension1DTypeOrDed,
    stride: Dimension1DTypeOrDed = 1,
    dilation: Dimension1DTypeOrDed = 1,
    is_causal: CausalArg1DTypeOrDed | None = False,
    scale: float | None = None,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    attention_kwargs: dict[str, Any] | None = None,
    backend: str | None = None,
    q_tile_shape: Any = None,
    kv_tile_shape: Any = None,
    backward_q_tile_shape: Any = None,
    backward_kv_tile_shape: Any = None,
    backward_kv_splits: Any = None,
    backward_use_pt_reduction: bool = False,
    run_persistent_kernel: bool = True,
    kernel_schedule: str | KernelSchedule | None = None,
    torch_compile: bool = False,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of query [B, L, H, D], key [B, L, Hkv, D] and value
    [B, L, Hkv, Dv]; with lse [B, L, H] if `return_lse`."""
    return neighborhood_attention_generic(
        query,
        key,
        value,
        kernel_size,
        stride,
        dilation,
        is_causal,
        scale,
        additional_keys,
        additional_values,
        attention_kwargs,
        backend,
        q_tile_shape,
        kv_tile_shape,
        kernel_schedule=kernel_schedule,
        return_lse=return_lse,
    )


def na2d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Dimension2DTypeOrDed,
    stride: Dimension2DTypeOrDed = 1,
    dilation: Dimension2DTypeOrDed = 1,
    is_causal: CausalArg2DTypeOrDed | None = False,
    scale: float | None = None,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    attention_kwargs: dict[str, Any] | None = None,
    backend: str | None = None,
    q_tile_shape: Any = None,
    kv_tile_shape: Any = None,
    backward_q_tile_shape: Any = None,
    backward_kv_tile_shape: Any = None,
    backward_kv_splits: Any = None,
    backward_use_pt_reduction: bool = False,
    run_persistent_kernel: bool = True,
    kernel_schedule: str | KernelSchedule | None = None,
    torch_compile: bool = False,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of query [B, X, Y, H, D], key [B, X, Y, Hkv, D] and value
    [B, X, Y, Hkv, Dv]; with lse [B, X, Y, H] if `return_lse`."""
    return neighborhood_attention_generic(
        query,
        key,
        value,
        kernel_size,
        stride,
        dilation,
        is_causal,
        scale,
        additional_keys,
        additional_values,
        attention_kwargs,
        backend,
        q_tile_shape,
        kv_tile_shape,
        kernel_schedule=kernel_schedule,
        return_lse=return_lse,
    )


def na3d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Dimension3DTypeOrDed,
    stride: Dimension3DTypeOrDed = 1,
    dilation: Dimension3DTypeOrDed = 1,
    is_causal: CausalArg3DTypeOrDed | None = False,
    scale: float | None = None,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    attention_kwargs: dict[str, Any] | None = None,
    backend: str | None = None,
    q_tile_shape: Any = None,
    kv_tile_shape: Any = None,
    backward_q_tile_shape: Any = None,
    backward_kv_tile_shape: Any = None,
    backward_kv_splits: Any = None,
    backward_use_pt_reduction: bool = False,
    run_persistent_kernel: bool = True,
    kernel_schedule: str | KernelSchedule | None = None,
    torch_compile: bool = False,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attention of query [B, Z, X, Y, H, D], key [B, Z, X, Y, Hkv, D] and value
    [B, Z, X, Y, Hkv, Dv]; with lse [B, Z, X, Y, H] if `return_lse`."""
    return neighborhood_attention_generic(
        query,
        key,
        value,
        kernel_size,
        stride,
        dilation,
        is_causal,
        scale,
        additional_keys,
        additional_values,
        attention_kwargs,
        backend,
        q_tile_shape,
        kv_tile_shape,
        kernel_schedule=kernel_schedule,
        return_lse=return_lse,
    )


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_causal: bool = False,
    scale: float | None = None,
    seqlens_Q: Tensor | None = None,
    seqlens_KV: Tensor | None = None,
    cumulative_seqlen_Q: Tensor | None = None,
    cumulative_seqlen_KV: Tensor | None = None,
    max_seqlen_Q: int | None = None,
    max_seqlen_KV: int | None = None,
    backend: str | None = None,
    q_tile_size: int | None = None,
    kv_tile_size: int | None = None,
    backward_q_tile_size: int | None = None,
    backward_kv_tile_size: int | None = None,
    backward_kv_splits: int | None = None,
    backward_use_pt_reduction: bool = False,
    run_persistent_kernel: bool = True,
    kernel_schedule: str | KernelSchedule | None = None,
    torch_compile: bool = False,
    return_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Full attention of query [B, Sq, H, D], key [B, Skv, Hkv, D] and value [B, Skv, Hkv, Dv]; with
    lse [B, Sq, H] if `return_lse`. Causal: query i sees the keys j <= i. With lengths [n] or
    cumulative lengths [n + 1] (int32), B is 1 and sequences are packed along S."""
    tensors.fmha_tensor_checks(query, key, value)
    _check_fmha_steering(backend, q_tile_size, kv_tile_size, kernel_schedule)
    cumulative_Q, cumulative_KV, _, _ = varlen.varlen_tensor_checks(
        query,
        key,
        value,
        seqlens_Q,
        seqlens_KV,
        cumulative_seqlen_Q,
        cumulative_seqlen_KV,
        max_seqlen_Q,
        max_seqlen_KV,
    )
    if cumulative_Q is None or cumulative_KV is None:
        scale = default_scale(scale, query.shape[-1])
        result = full_attention(query, key, value, scale, is_causal)
    else:
        cumulative = (cumulative_Q, cumulative_KV)
        result = attend.packed_attention(query, key, value, is_causal, scale, cumulative)
    return result if return_lse else result[0]


def _check_fmha_steering(
    backend: Any, q_tile_size: Any, kv_tile_size: Any, kernel_schedule: Any
) -> None:
    arguments.check_fmha_backend(backend)
    arguments.check_tile_sizes(q_tile_size, kv_tile_size)
    arguments.check_kernel_schedule(kernel_schedule)
