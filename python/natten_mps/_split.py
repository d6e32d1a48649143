# SPDX-License-Identifier: MIT
"""The split functions: logits of each window, and sums of values weighted by them.

They are public as `natten_mps.functional.na2d_qk` and so on, the names that pickles and programs of
torch.fx have for them.
"""

from torch import Tensor

from . import _doors
from ._types import Bools, Ints, Offsets, Scale
from .utils.params import make_window


def na1d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    scale: Scale = None,
    rpb: Tensor | None = None,
    additional_keys: Tensor | None = None,
    window_stride: Ints = 1,
    query_offset: Offsets = None,
    key_offset: Offsets = None,
    full_size: Offsets = None,
) -> Tensor:
    """Logits of 1-D neighborhood attention: dot products of each query with its keys.

    Args:
        query: `[B, L, heads, dim]`.
        key: `[B, L, kv_heads, dim]`, where kv_heads divides heads.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        stride: compute only every `stride`-th query; `L' = ceil(L / stride)`.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: 1.
        rpb: `[heads, 2K - 1]`, relative position bias, added to the scaled logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
        query_offset: position of the first query if the tensors hold only part of longer axes; a
            multiple of `stride`; None: 0.
        key_offset: position of the first key; None: 0.
        full_size: length of the whole axes, which determines windows and masks; None: the axes end
            at the last key, and without offsets the tensors hold whole axes.

    Constraints:
        As for `na1d`.

    Returns:
        `[B, L', heads, prod(kernel_size) + N]`: slots in ascending order of keys,
        the last axis fastest. Masked slots are -inf and come first, additional keys come last.

    Raises:
        TypeError: if query or key is not a tensor.
        ValueError: if shapes, devices, dtypes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na1d_qk
        >>> x = torch.randn(2, 16, 4, 8)
        >>> na1d_qk(x, x, kernel_size=3).shape
        torch.Size([2, 16, 4, 3])
    """
    window = make_window(1, kernel_size, dilation, stride, is_causal, window_stride)
    return _doors.qk(
        "na1d_qk",
        window,
        query,
        key,
        scale,
        rpb,
        additional_keys,
        parts=(query_offset, key_offset, full_size),
    )


def na1d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    additional_values: Tensor | None = None,
    window_stride: Ints = 1,
    query_offset: Offsets = None,
    key_offset: Offsets = None,
    full_size: Offsets = None,
) -> Tensor:
    """Weighted sums of the values in each window, for 1-D neighborhood attention.

    Args:
        attn: `[B, L', heads, prod(kernel_size) + N]`, slots as in `na1d_qk`.
        value: `[B, L, kv_heads, dim]`, where kv_heads divides heads.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        stride: compute only every `stride`-th query; `L' = ceil(L / stride)`.
        is_causal: if true, a query does not see keys after its own position.
        additional_values: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
        query_offset: position of the first query if the tensors hold only part of longer axes; a
            multiple of `stride`; None: 0.
        key_offset: position of the first key; None: 0.
        full_size: length of the whole axes, which determines windows and masks; None: the axes end
            at the last key, and without offsets the tensors hold whole axes.

    Constraints:
        As for `na1d`. Weights of masked slots are ignored.

    Returns:
        `[B, L', heads, dim]`.

    Raises:
        TypeError: if attn or value is not a tensor.
        ValueError: if shapes, devices, dtypes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na1d_av, na1d_qk
        >>> x = torch.randn(2, 16, 4, 8)
        >>> weights = na1d_qk(x, x, kernel_size=3).softmax(-1)
        >>> na1d_av(weights, x, kernel_size=3).shape
        torch.Size([2, 16, 4, 8])
    """
    window = make_window(1, kernel_size, dilation, stride, is_causal, window_stride)
    return _doors.av(
        "na1d_av",
        window,
        attn,
        value,
        additional_values,
        parts=(query_offset, key_offset, full_size),
    )


def na2d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    scale: Scale = None,
    rpb: Tensor | None = None,
    additional_keys: Tensor | None = None,
    window_stride: Ints = 1,
    query_offset: Offsets = None,
    key_offset: Offsets = None,
    full_size: Offsets = None,
) -> Tensor:
    """Logits of 2-D neighborhood attention: dot products of each query with its keys.

    Args:
        query: `[B, H, W, heads, dim]`.
        key: `[B, H, W, kv_heads, dim]`, where kv_heads divides heads.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        stride: compute only every `stride`-th query; `H' = ceil(H / stride)`.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: 1.
        rpb: `[heads, 2K - 1, 2K - 1]`, relative position bias, added to the scaled logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
        query_offset: position of the first query if the tensors hold only part of longer axes; a
            multiple of `stride`; None: 0.
        key_offset: position of the first key; None: 0.
        full_size: length of the whole axes, which determines windows and masks; None: the axes end
            at the last key, and without offsets the tensors hold whole axes.

    Constraints:
        As for `na2d`.

    Returns:
        `[B, H', W', heads, prod(kernel_size) + N]`: slots in ascending order of keys,
        the last axis fastest. Masked slots are -inf and come first, additional keys come last.

    Raises:
        TypeError: if query or key is not a tensor.
        ValueError: if shapes, devices, dtypes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na2d_qk
        >>> x = torch.randn(2, 8, 8, 4, 16)
        >>> na2d_qk(x, x, kernel_size=3).shape
        torch.Size([2, 8, 8, 4, 9])
    """
    window = make_window(2, kernel_size, dilation, stride, is_causal, window_stride)
    return _doors.qk(
        "na2d_qk",
        window,
        query,
        key,
        scale,
        rpb,
        additional_keys,
        parts=(query_offset, key_offset, full_size),
    )


def na2d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    additional_values: Tensor | None = None,
    window_stride: Ints = 1,
    query_offset: Offsets = None,
    key_offset: Offsets = None,
    full_size: Offsets = None,
) -> Tensor:
    """Weighted sums of the values in each window, for 2-D neighborhood attention.

    Args:
        attn: `[B, H', W', heads, prod(kernel_size) + N]`, slots as in `na2d_qk`.
        value: `[B, H, W, kv_heads, dim]`, where kv_heads divides heads.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        stride: compute only every `stride`-th query; `H' = ceil(H / stride)`.
        is_causal: if true, a query does not see keys after its own position.
        additional_values: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
        query_offset: position of the first query if the tensors hold only part of longer axes; a
            multiple of `stride`; None: 0.
        key_offset: position of the first key; None: 0.
        full_size: length of the whole axes, which determines windows and masks; None: the axes end
            at the last key, and without offsets the tensors hold whole axes.

    Constraints:
        As for `na2d`. Weights of masked slots are ignored.

    Returns:
        `[B, H', W', heads, dim]`.

    Raises:
        TypeError: if attn or value is not a tensor.
        ValueError: if shapes, devices, dtypes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na2d_av, na2d_qk
        >>> x = torch.randn(2, 8, 8, 4, 16)
        >>> weights = na2d_qk(x, x, kernel_size=3).softmax(-1)
        >>> na2d_av(weights, x, kernel_size=3).shape
        torch.Size([2, 8, 8, 4, 16])
    """
    window = make_window(2, kernel_size, dilation, stride, is_causal, window_stride)
    return _doors.av(
        "na2d_av",
        window,
        attn,
        value,
        additional_values,
        parts=(query_offset, key_offset, full_size),
    )


def na3d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    scale: Scale = None,
    rpb: Tensor | None = None,
    additional_keys: Tensor | None = None,
    window_stride: Ints = 1,
    query_offset: Offsets = None,
    key_offset: Offsets = None,
    full_size: Offsets = None,
) -> Tensor:
    """Logits of 3-D neighborhood attention: dot products of each query with its keys.

    Args:
        query: `[B, D, H, W, heads, dim]`.
        key: `[B, D, H, W, kv_heads, dim]`, where kv_heads divides heads.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        stride: compute only every `stride`-th query; `D' = ceil(D / stride)`.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: 1.
        rpb: `[heads, 2K - 1, 2K - 1, 2K - 1]`, relative position bias, added to the scaled logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
        query_offset: position of the first query if the tensors hold only part of longer axes; a
            multiple of `stride`; None: 0.
        key_offset: position of the first key; None: 0.
        full_size: length of the whole axes, which determines windows and masks; None: the axes end
            at the last key, and without offsets the tensors hold whole axes.

    Constraints:
        As for `na3d`.

    Returns:
        `[B, D', H', W', heads, prod(kernel_size) + N]`: slots in ascending order of keys,
        the last axis fastest. Masked slots are -inf and come first, additional keys come last.

    Raises:
        TypeError: if query or key is not a tensor.
        ValueError: if shapes, devices, dtypes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na3d_qk
        >>> x = torch.randn(1, 4, 6, 6, 2, 8)
        >>> na3d_qk(x, x, kernel_size=3).shape
        torch.Size([1, 4, 6, 6, 2, 27])
    """
    window = make_window(3, kernel_size, dilation, stride, is_causal, window_stride)
    return _doors.qk(
        "na3d_qk",
        window,
        query,
        key,
        scale,
        rpb,
        additional_keys,
        parts=(query_offset, key_offset, full_size),
    )


def na3d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    additional_values: Tensor | None = None,
    window_stride: Ints = 1,
    query_offset: Offsets = None,
    key_offset: Offsets = None,
    full_size: Offsets = None,
) -> Tensor:
    """Weighted sums of the values in each window, for 3-D neighborhood attention.

    Args:
        attn: `[B, D', H', W', heads, prod(kernel_size) + N]`, slots as in `na3d_qk`.
        value: `[B, D, H, W, kv_heads, dim]`, where kv_heads divides heads.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        stride: compute only every `stride`-th query; `D' = ceil(D / stride)`.
        is_causal: if true, a query does not see keys after its own position.
        additional_values: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.
        query_offset: position of the first query if the tensors hold only part of longer axes; a
            multiple of `stride`; None: 0.
        key_offset: position of the first key; None: 0.
        full_size: length of the whole axes, which determines windows and masks; None: the axes end
            at the last key, and without offsets the tensors hold whole axes.

    Constraints:
        As for `na3d`. Weights of masked slots are ignored.

    Returns:
        `[B, D', H', W', heads, dim]`.

    Raises:
        TypeError: if attn or value is not a tensor.
        ValueError: if shapes, devices, dtypes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na3d_av, na3d_qk
        >>> x = torch.randn(1, 4, 6, 6, 2, 8)
        >>> weights = na3d_qk(x, x, kernel_size=3).softmax(-1)
        >>> na3d_av(weights, x, kernel_size=3).shape
        torch.Size([1, 4, 6, 6, 2, 8])
    """
    window = make_window(3, kernel_size, dilation, stride, is_causal, window_stride)
    return _doors.av(
        "na3d_av",
        window,
        attn,
        value,
        additional_values,
        parts=(query_offset, key_offset, full_size),
    )
