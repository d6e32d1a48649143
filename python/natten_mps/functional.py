# SPDX-License-Identifier: MIT
"""Neighborhood attention as functions. Tensors are heads-last: `[B, *S, heads, dim]`.

`stride` here is the one of natten-mps: only every stride-th query is computed, so that outputs have
`ceil(length / stride)` positions per axis. Parameters of a window are one value or one per axis.
"""

from torch import Tensor

from . import _doors, _types
from ._carriers import unscriptable
from ._predecessor_functions import classes
from ._predecessor_ops import register
from ._split import na1d_av, na1d_qk, na2d_av, na2d_qk, na3d_av, na3d_qk
from ._types import Bools, Ints, Offsets, Result, Scale
from .utils.params import make_window
from .varlen import na1d_packed, na1d_varlen, na2d_varlen, na3d_varlen

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


@_types.fused
def na1d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Ints,
    stride: Ints = 1,
    dilation: Ints = 1,
    is_causal: Bools = False,
    scale: Scale = None,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    *,
    rpb: Tensor | None = None,
    window_stride: Ints = 1,
    query_offset: Offsets = None,
    key_offset: Offsets = None,
    full_size: Offsets = None,
) -> Result:
    """Fused 1-D neighborhood attention: each query attends to the keys of its window.

    Args:
        query: `[B, L, heads, dim]`.
        key: `[B, L, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, L, kv_heads, value_dim]`.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        stride: compute only every `stride`-th query; `L' = ceil(L / stride)`.
        dilation: step between neighboring keys of a window.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        rpb: `[heads, 2K - 1]`, relative position bias, added to the scaled logits.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
        query_offset: position of the first query if the tensors hold only part of longer axes; a
            multiple of `stride`; None: 0.
        key_offset: position of the first key; None: 0.
        full_size: length of the whole axes, which determines windows and masks; None: the axes end
            at the last key, and without offsets the tensors hold whole axes.

    Constraints:
        `kernel_size * dilation` is at most the length, `stride` and `window_stride` at most
        `kernel_size`, on every axis. All tensors have one device and one dtype: float32, float16,
        bfloat16 or float64; the log-sum-exp is float32, or float64 for float64.

    Returns:
        `[B, L', heads, value_dim]`; with return_lse, also the natural log-sum-exp
        `[B, L', heads]`, which is differentiable too.

    Raises:
        TypeError: if query, key or value is not a tensor.
        ValueError: if shapes, devices, dtypes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na1d
        >>> x = torch.randn(2, 16, 4, 8)
        >>> na1d(x, x, x, kernel_size=3).shape
        torch.Size([2, 16, 4, 8])
    """
    window = make_window(1, kernel_size, dilation, stride, is_causal, window_stride, True)
    return _doors.fused(
        "na1d",
        window,
        query,
        key,
        value,
        scale,
        return_lse,
        additional_keys,
        additional_values,
        rpb,
        parts=(query_offset, key_offset, full_size),
    )


@_types.fused
def na2d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Ints,
    stride: Ints = 1,
    dilation: Ints = 1,
    is_causal: Bools = False,
    scale: Scale = None,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    *,
    rpb: Tensor | None = None,
    window_stride: Ints = 1,
    query_offset: Offsets = None,
    key_offset: Offsets = None,
    full_size: Offsets = None,
) -> Result:
    """Fused 2-D neighborhood attention: each query attends to the keys of its window.

    Args:
        query: `[B, H, W, heads, dim]`.
        key: `[B, H, W, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, H, W, kv_heads, value_dim]`.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        stride: compute only every `stride`-th query; `H' = ceil(H / stride)`.
        dilation: step between neighboring keys of a window.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        rpb: `[heads, 2K - 1, 2K - 1]`, relative position bias, added to the scaled logits.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
        query_offset: position of the first query if the tensors hold only part of longer axes; a
            multiple of `stride`; None: 0.
        key_offset: position of the first key; None: 0.
        full_size: length of the whole axes, which determines windows and masks; None: the axes end
            at the last key, and without offsets the tensors hold whole axes.

    Constraints:
        `kernel_size * dilation` is at most the length, `stride` and `window_stride` at most
        `kernel_size`, on every axis. All tensors have one device and one dtype: float32, float16,
        bfloat16 or float64; the log-sum-exp is float32, or float64 for float64.

    Returns:
        `[B, H', W', heads, value_dim]`; with return_lse, also the natural log-sum-exp
        `[B, H', W', heads]`, which is differentiable too.

    Raises:
        TypeError: if query, key or value is not a tensor.
        ValueError: if shapes, devices, dtypes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na2d
        >>> x = torch.randn(2, 8, 8, 4, 16)
        >>> na2d(x, x, x, kernel_size=3).shape
        torch.Size([2, 8, 8, 4, 16])
    """
    window = make_window(2, kernel_size, dilation, stride, is_causal, window_stride, True)
    return _doors.fused(
        "na2d",
        window,
        query,
        key,
        value,
        scale,
        return_lse,
        additional_keys,
        additional_values,
        rpb,
        parts=(query_offset, key_offset, full_size),
    )


@_types.fused
def na3d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Ints,
    stride: Ints = 1,
    dilation: Ints = 1,
    is_causal: Bools = False,
    scale: Scale = None,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    *,
    rpb: Tensor | None = None,
    window_stride: Ints = 1,
    query_offset: Offsets = None,
    key_offset: Offsets = None,
    full_size: Offsets = None,
) -> Result:
    """Fused 3-D neighborhood attention: each query attends to the keys of its window.

    Args:
        query: `[B, D, H, W, heads, dim]`.
        key: `[B, D, H, W, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, D, H, W, kv_heads, value_dim]`.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        stride: compute only every `stride`-th query; `D' = ceil(D / stride)`.
        dilation: step between neighboring keys of a window.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        rpb: `[heads, 2K - 1, 2K - 1, 2K - 1]`, relative position bias, added to the scaled logits.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
        query_offset: position of the first query if the tensors hold only part of longer axes; a
            multiple of `stride`; None: 0.
        key_offset: position of the first key; None: 0.
        full_size: length of the whole axes, which determines windows and masks; None: the axes end
            at the last key, and without offsets the tensors hold whole axes.

    Constraints:
        `kernel_size * dilation` is at most the length, `stride` and `window_stride` at most
        `kernel_size`, on every axis. All tensors have one device and one dtype: float32, float16,
        bfloat16 or float64; the log-sum-exp is float32, or float64 for float64.

    Returns:
        `[B, D', H', W', heads, value_dim]`; with return_lse, also the natural log-sum-exp
        `[B, D', H', W', heads]`, which is differentiable too.

    Raises:
        TypeError: if query, key or value is not a tensor.
        ValueError: if shapes, devices, dtypes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na3d
        >>> x = torch.randn(1, 4, 6, 6, 2, 8)
        >>> na3d(x, x, x, kernel_size=3).shape
        torch.Size([1, 4, 6, 6, 2, 8])
    """
    window = make_window(3, kernel_size, dilation, stride, is_causal, window_stride, True)
    return _doors.fused(
        "na3d",
        window,
        query,
        key,
        value,
        scale,
        return_lse,
        additional_keys,
        additional_values,
        rpb,
        parts=(query_offset, key_offset, full_size),
    )


for _function in (na1d_qk, na1d_av, na2d_qk, na2d_av, na3d_qk, na3d_av):
    _function.__module__ = __name__  # the public place, for pickles, torch.fx and help()

for _name in __all__:
    unscriptable(globals()[_name])

register(1, na1d_qk, na1d_av, na1d, na1d_varlen)
register(2, na2d_qk, na2d_av, na2d, na2d_varlen)
register(3, na3d_qk, na3d_av, na3d, na3d_varlen)

# natten-mps 0.3.3 has the Function classes in this module, too.
NA1DQKFunction, NA1DAVFunction, NeighborhoodAttention1DFunction = classes(1, na1d_qk, na1d_av, na1d)
NA2DQKFunction, NA2DAVFunction, NeighborhoodAttention2DFunction = classes(2, na2d_qk, na2d_av, na2d)
NA3DQKFunction, NA3DAVFunction, NeighborhoodAttention3DFunction = classes(3, na3d_qk, na3d_av, na3d)
