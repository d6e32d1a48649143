# SPDX-License-Identifier: MIT
"""Fused attention on samples of different sizes: padded, or concatenated without padding."""

from torch import Tensor

from . import _doors, _types
from ._types import Bools, Ints, Result, Scale


@_types.varlen_1d
def na1d_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_lens: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: Scale = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    window_stride: Ints = 1,
) -> Result:
    """`na1d` on a padded batch: each sample is computed as if it were alone and not padded.

    Args:
        query: `[B, L, heads, dim]`.
        key: `[B, L, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, L, kv_heads, value_dim]`.
        seq_lens: `[B]`, int32 or int64: the length of each sample.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        scale: factor of the logits; None: `dim ** -0.5`.
        stride: compute only every `stride`-th query; `L' = ceil(L / stride)`.
        is_causal: if true, a query does not see keys after its own position.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.

    Constraints:
        As for `na1d`, and `kernel_size * dilation` is at most the length of every sample. Padding
        is never read, whatever it contains.

    Returns:
        `[B, L', heads, value_dim]`; with return_lse, also the natural log-sum-exp
        `[B, L', heads]`. At padding the output and all gradients are 0, and lse is -inf.

    Raises:
        TypeError: if query, key, value or seq_lens is not a tensor.
        ValueError: if shapes, devices, dtypes, lengths or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na1d_varlen
        >>> x = torch.randn(2, 16, 4, 8)
        >>> na1d_varlen(x, x, x, torch.tensor([16, 9]), kernel_size=3).shape
        torch.Size([2, 16, 4, 8])
    """
    return _doors.varlen(
        1,
        query,
        key,
        value,
        seq_lens,
        (kernel_size, dilation, stride, is_causal, window_stride),
        scale,
        return_lse,
        additional_keys,
        additional_values,
    )


@_types.varlen
def na2d_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spatial_sizes: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: Scale = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    window_stride: Ints = 1,
) -> Result:
    """`na2d` on a padded batch: each sample is computed as if it were alone and not padded.

    Args:
        query: `[B, H, W, heads, dim]`.
        key: `[B, H, W, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, H, W, kv_heads, value_dim]`.
        spatial_sizes: `[B, 2]`, int32 or int64: the sizes of each sample.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        scale: factor of the logits; None: `dim ** -0.5`.
        stride: compute only every `stride`-th query; `H' = ceil(H / stride)`.
        is_causal: if true, a query does not see keys after its own position.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.

    Constraints:
        As for `na2d`, and `kernel_size * dilation` is at most the sizes of every sample. Padding
        is never read, whatever it contains.

    Returns:
        `[B, H', W', heads, value_dim]`; with return_lse, also the natural log-sum-exp
        `[B, H', W', heads]`. At padding the output and all gradients are 0, and lse is -inf.

    Raises:
        TypeError: if query, key, value or spatial_sizes is not a tensor.
        ValueError: if shapes, devices, dtypes, sizes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na2d_varlen
        >>> x = torch.randn(2, 8, 8, 4, 16)
        >>> na2d_varlen(x, x, x, torch.tensor([[8, 8], [5, 6]]), kernel_size=3).shape
        torch.Size([2, 8, 8, 4, 16])
    """
    return _doors.varlen(
        2,
        query,
        key,
        value,
        spatial_sizes,
        (kernel_size, dilation, stride, is_causal, window_stride),
        scale,
        return_lse,
        additional_keys,
        additional_values,
    )


@_types.varlen
def na3d_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spatial_sizes: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: Scale = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    window_stride: Ints = 1,
) -> Result:
    """`na3d` on a padded batch: each sample is computed as if it were alone and not padded.

    Args:
        query: `[B, D, H, W, heads, dim]`.
        key: `[B, D, H, W, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, D, H, W, kv_heads, value_dim]`.
        spatial_sizes: `[B, 3]`, int32 or int64: the sizes of each sample.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        scale: factor of the logits; None: `dim ** -0.5`.
        stride: compute only every `stride`-th query; `D' = ceil(D / stride)`.
        is_causal: if true, a query does not see keys after its own position.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query in addition to its window.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.

    Constraints:
        As for `na3d`, and `kernel_size * dilation` is at most the sizes of every sample. Padding
        is never read, whatever it contains.

    Returns:
        `[B, D', H', W', heads, value_dim]`; with return_lse, also the natural log-sum-exp
        `[B, D', H', W', heads]`. At padding the output and all gradients are 0, and lse is -inf.

    Raises:
        TypeError: if query, key, value or spatial_sizes is not a tensor.
        ValueError: if shapes, devices, dtypes, sizes or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na3d_varlen
        >>> x = torch.randn(1, 4, 6, 6, 2, 8)
        >>> na3d_varlen(x, x, x, torch.tensor([[4, 6, 6]]), kernel_size=3).shape
        torch.Size([1, 4, 6, 6, 2, 8])
    """
    return _doors.varlen(
        3,
        query,
        key,
        value,
        spatial_sizes,
        (kernel_size, dilation, stride, is_causal, window_stride),
        scale,
        return_lse,
        additional_keys,
        additional_values,
    )


@_types.packed
def na1d_packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lens: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: Scale = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    window_stride: Ints = 1,
) -> Result:
    """`na1d` on sequences concatenated without padding between them.

    Args:
        query: `[total, heads, dim]`.
        key: `[total, kv_heads, dim]`, where kv_heads divides heads.
        value: `[total, kv_heads, value_dim]`.
        cumulative_lens: `[B + 1]`, int32 or int64: sequence b is at
            `cumulative_lens[b] : cumulative_lens[b + 1]`.
        kernel_size: window size in keys; window parameters take one value or a sequence of one.
        dilation: step between neighboring keys of a window.
        scale: factor of the logits; None: `dim ** -0.5`.
        stride: compute only every `stride`-th query of each sequence.
        is_causal: if true, a query does not see keys after its own position.
        return_lse: also return the log-sum-exp of the logits.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.

    Constraints:
        As for `na1d`, and `kernel_size * dilation` is at most the length of every sequence.

    Returns:
        `[sum of ceil(length / stride), heads, value_dim]`; with return_lse, also the natural
        log-sum-exp, without the last dimension.

    Raises:
        TypeError: if query, key, value or cumulative_lens is not a tensor.
        ValueError: if shapes, devices, dtypes, lengths or the window do not match.
        NotImplementedError: if no backend, or not the selected one, supports the problem.

    Examples:
        >>> import torch
        >>> from natten_mps import na1d_packed
        >>> x = torch.randn(25, 4, 8)
        >>> na1d_packed(x, x, x, torch.tensor([0, 16, 25]), kernel_size=3).shape
        torch.Size([25, 4, 8])
    """
    rules = (kernel_size, dilation, stride, is_causal, window_stride)
    return _doors.packed(query, key, value, cumulative_lens, rules, scale, return_lse)
