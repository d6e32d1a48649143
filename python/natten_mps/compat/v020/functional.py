# SPDX-License-Identifier: MIT
"""Neighborhood attention of NATTEN 0.20, heads last.

`stride` lets neighbouring queries share a window; outputs have as many positions as queries.
Arguments from `backend` to `torch_compile` steer CUDA kernels; they are checked, and otherwise
change nothing.
"""

from typing import Any

from torch import Tensor

from .._common.attention import attention as full_attention
from .._common.gna import arguments, attend, tensors
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
    try_fuse_additional_kv: bool = False,
) -> Tensor:
    """Attention of query and key [B, axes..., H, D] and value [B, axes..., H, Dv]."""
    where = (kernel_size, stride, dilation, is_causal)
    additional = (additional_keys, additional_values)
    steering = attend.Steering(
        attention_kwargs, backend, q_tile_shape, kv_tile_shape, kernel_schedule
    )
    _check_no_gqa(query, key, value, "Neighborhood attention ops expect Q, K, and V to have the "
                  "same shape (except value head dim)")  # fmt: skip
    out, _ = attend.neighborhood_attention(query, key, value, where, scale, additional, steering)
    return out


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
    try_fuse_additional_kv: bool = False,
) -> Tensor:
    """Attention of query and key [B, L, H, D] and value [B, L, H, Dv]."""
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
    try_fuse_additional_kv: bool = False,
) -> Tensor:
    """Attention of query and key [B, X, Y, H, D] and value [B, X, Y, H, Dv]."""
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
    try_fuse_additional_kv: bool = False,
) -> Tensor:
    """Attention of query and key [B, Z, X, Y, H, D] and value [B, Z, X, Y, H, Dv]."""
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
    )


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float | None = None,
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
    """Full attention of query [B, Sq, H, D], key [B, Skv, H, D] and value [B, Skv, H, Dv]; with
    lse [B, Sq, H] if `return_lse`."""
    tensors.fmha_tensor_checks(query, key, value)
    _check_no_gqa(query, key, value, "NATTEN operations do not support GQA/MQA")
    arguments.check_fmha_backend(backend)
    arguments.check_tile_sizes(q_tile_size, kv_tile_size)
    arguments.check_kernel_schedule(kernel_schedule)
    scale = default_scale(scale, query.shape[-1])
    result = full_attention(query, key, value, scale, False)
    return result if return_lse else result[0]


def _check_no_gqa(query: Tensor, key: Tensor, value: Tensor, complaint: str) -> None:
    given = (query, key, value)
    if any(t.is_nested for t in given) or len({t.dim() for t in given}) != 1:
        return  # the general checks say what is wrong
    if not query.shape[-2] == key.shape[-2] == value.shape[-2]:
        raise ValueError(f"{complaint}, got {query.shape=}, {key.shape=}, {value.shape=}.")
