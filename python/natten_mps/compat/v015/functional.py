# SPDX-License-Identifier: MIT
"""Split neighborhood attention of NATTEN 0.15, heads first and without scaling.

`additional_keys` and `additional_values` [B, H, T, D] are tokens that every query sees; their
T logits follow those of the window.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from natten_mps import ops

from .._common import capabilities, checked, split, transposed
from . import _switches

get_device_cc = capabilities.get_device_cc
has_cuda = capabilities.has_cuda
has_half = capabilities.has_half
has_bfloat = capabilities.has_bfloat
has_gemm = capabilities.has_gemm
has_tf32_gemm = capabilities.has_tf32_gemm
has_fp32_gemm = capabilities.has_fp32_gemm
has_fp64_gemm = capabilities.has_fp64_gemm
enable_tf32 = _switches.enable_tf32
disable_tf32 = _switches.disable_tf32
enable_tiled_na = _switches.enable_tiled_na
disable_tiled_na = _switches.disable_tiled_na
enable_gemm_na = _switches.enable_gemm_na
disable_gemm_na = _switches.disable_gemm_na


def _window(rank: int, *sizes: int) -> ops.Window:
    """From (kernel_size, dilation), in 3-D (kernel_size_d, kernel_size, dilation_d, dilation)."""
    if rank < 3:
        kernel_size, dilation = sizes
        return split.window((kernel_size,) * rank, (dilation,) * rank)
    kernel_size_d, kernel_size, dilation_d, dilation = sizes
    return split.window((kernel_size_d, kernel_size, kernel_size), (dilation_d, dilation, dilation))


def _qk_function(rank: int) -> Any:
    return split.qk_function(f"NeighborhoodAttention{rank}DQKAutogradFunction", __name__, _window)


def _av_function(rank: int) -> Any:
    return split.av_function(f"NeighborhoodAttention{rank}DAVAutogradFunction", __name__, _window)


NeighborhoodAttention1DQKAutogradFunction = _qk_function(1)
NeighborhoodAttention1DAVAutogradFunction = _av_function(1)
NeighborhoodAttention2DQKAutogradFunction = _qk_function(2)
NeighborhoodAttention2DAVAutogradFunction = _av_function(2)
NeighborhoodAttention3DQKAutogradFunction = _qk_function(3)
NeighborhoodAttention3DAVAutogradFunction = _av_function(3)


def _check_kernel(kernel: Sequence[int]) -> None:
    for k in kernel:
        if k <= 1 or k % 2 == 0:
            raise RuntimeError(f"Kernel size must be an odd number greater than 1, got {k}.")


def _call(function: Any, rank: int, *sizes: int) -> checked.Call:
    return checked.Call(function, sizes, _window(rank, *sizes), _check_kernel)


def na1d_qk_with_bias(
    query: Tensor,
    key: Tensor,
    bias: Tensor | None,
    kernel_size: int,
    dilation: int,
    additional_keys: Tensor | None = None,
) -> Tensor:
    """Logits [B, H, L, K + T] of query and key [B, H, L, D], plus bias [H, 2K-1]."""
    call = _call(NeighborhoodAttention1DQKAutogradFunction, 1, kernel_size, dilation)
    return checked.qk(call, query, key, bias, additional_keys)


def na1d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: int,
    dilation: int,
    additional_keys: Tensor | None = None,
) -> Tensor:
    """Logits [B, H, L, K + T] of query and key [B, H, L, D]."""
    return na1d_qk_with_bias(query, key, None, kernel_size, dilation, additional_keys)


def na1d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: int,
    dilation: int,
    additional_values: Tensor | None = None,
) -> Tensor:
    """Weights [B, H, L, K + T] applied to value [B, H, L, D]: [B, H, L, D]."""
    call = _call(NeighborhoodAttention1DAVAutogradFunction, 1, kernel_size, dilation)
    return checked.av(call, attn, value, additional_values)


def na2d_qk_with_bias(
    query: Tensor,
    key: Tensor,
    bias: Tensor | None,
    kernel_size: int,
    dilation: int,
    additional_keys: Tensor | None = None,
) -> Tensor:
    """Logits [B, H, X, Y, K*K + T] of query and key [B, H, X, Y, D], plus bias."""
    call = _call(NeighborhoodAttention2DQKAutogradFunction, 2, kernel_size, dilation)
    return checked.qk(call, query, key, bias, additional_keys)


def na2d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: int,
    dilation: int,
    additional_keys: Tensor | None = None,
) -> Tensor:
    """Logits [B, H, X, Y, K*K + T] of query and key [B, H, X, Y, D]."""
    return na2d_qk_with_bias(query, key, None, kernel_size, dilation, additional_keys)


def na2d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: int,
    dilation: int,
    additional_values: Tensor | None = None,
) -> Tensor:
    """Weights [B, H, X, Y, K*K + T] applied to value [B, H, X, Y, D]: [B, H, X, Y, D]."""
    call = _call(NeighborhoodAttention2DAVAutogradFunction, 2, kernel_size, dilation)
    return checked.av(call, attn, value, additional_values)


def na3d_qk_with_bias(
    query: Tensor,
    key: Tensor,
    bias: Tensor | None,
    kernel_size_d: int,
    kernel_size: int,
    dilation_d: int,
    dilation: int,
    additional_keys: Tensor | None = None,
) -> Tensor:
    """Logits [B, H, Z, X, Y, Kd*K*K + T] of query and key [B, H, Z, X, Y, D], plus bias."""
    sizes = (kernel_size_d, kernel_size, dilation_d, dilation)
    call = _call(NeighborhoodAttention3DQKAutogradFunction, 3, *sizes)
    return checked.qk(call, query, key, bias, additional_keys)


def na3d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size_d: int,
    kernel_size: int,
    dilation_d: int,
    dilation: int,
    additional_keys: Tensor | None = None,
) -> Tensor:
    """Logits [B, H, Z, X, Y, Kd*K*K + T] of query and key [B, H, Z, X, Y, D]."""
    sizes = (kernel_size_d, kernel_size, dilation_d, dilation)
    return na3d_qk_with_bias(query, key, None, *sizes, additional_keys)


def na3d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size_d: int,
    kernel_size: int,
    dilation_d: int,
    dilation: int,
    additional_values: Tensor | None = None,
) -> Tensor:
    """Weights [B, H, Z, X, Y, Kd*K*K + T] applied to value [B, H, Z, X, Y, D]."""
    sizes = (kernel_size_d, kernel_size, dilation_d, dilation)
    call = _call(NeighborhoodAttention3DAVAutogradFunction, 3, *sizes)
    return checked.av(call, attn, value, additional_values)


def natten1dqkrpb(
    query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: int, dilation: int
) -> Tensor:
    """0.14's name of :func:`na1d_qk_with_bias`."""
    return na1d_qk_with_bias(query, key, rpb, kernel_size, dilation)


def natten2dqkrpb(
    query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: int, dilation: int
) -> Tensor:
    """0.14's name of :func:`na2d_qk_with_bias`."""
    query, key = transposed.query_and_key(query, key, rpb)
    return na2d_qk_with_bias(query, key, rpb, kernel_size, dilation)


def natten3dqkrpb(
    query: Tensor,
    key: Tensor,
    rpb: Tensor | None,
    kernel_size_d: int,
    kernel_size: int,
    dilation_d: int,
    dilation: int,
) -> Tensor:
    """0.14's way of naming :func:`na3d_qk_with_bias`."""
    return na3d_qk_with_bias(query, key, rpb, kernel_size_d, kernel_size, dilation_d, dilation)


def natten2dav(
    attn: Tensor,
    value: Tensor,
    kernel_size: int,
    dilation: int,
    additional_values: Tensor | None = None,
) -> Tensor:
    """0.14's name of :func:`na2d_av`."""
    value = transposed.values(attn, value)
    return na2d_av(attn, value, kernel_size, dilation, additional_values)


natten1dqk = na1d_qk
natten1dav = na1d_av
natten2dqk = na2d_qk
natten3dqk = na3d_qk
natten3dav = na3d_av
