# SPDX-License-Identifier: MIT
"""Neighborhood attention of tokens that are spread over processes, by torch.distributed.

Every process holds a part of the positions, cut as torch.chunk and DTensor cut. Before a query is
computed its process has to have the keys of the window, of which some belong to other processes.
One all-to-all brings exactly those rows; queries that need none are computed meanwhile. The
backward pass sends the gradients of these rows back and adds them in the order of ranks, so that
results do not depend on timing.

With DTensors, `natten_mps.na2d(query, key, value, ...)` and the modules do all this by themselves.
The functions here are for local tensors and a process group. The group may be of gloo (tensors on
a device that it does not know, such as MPS, are sent through host memory) or of NCCL.
"""

from typing import Any

from torch import Tensor

from .._types import Bools, Ints, Result, Scale
from ._function import fused

__all__ = ["na1d", "na2d", "na3d"]


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
    full_size: Ints,
    grid: Ints | None = None,
    group: Any = None,
    rpb: Tensor | None = None,
    window_stride: Ints = 1,
) -> Result:
    """`natten_mps.na1d` of tokens that are spread over the processes of a group.

    Args:
        query: `[B, l, heads, dim]`, this process's part of the positions.
        key: `[B, l, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, l, kv_heads, value_dim]`.
        kernel_size: keys of a window; a window parameter is one value or one per axis.
        stride: compute only every `stride`-th query.
        dilation: distance between the keys of a window.
        is_causal: whether a query sees no key after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, which every query sees; the same everywhere.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        full_size: length of the whole axes.
        grid: processes along each axis, of which the last changes fastest with the rank; None: all
            along the first. Positions are cut as torch.chunk cuts, and outputs too.
        group: a process group, all of whose processes call; None: the default one.
        rpb: `[heads, 2K - 1]`, relative position bias; the same everywhere.
        window_stride: queries that share one window, the `stride` of NATTEN 0.20 and later.

    Constraints:
        As for `natten_mps.na1d`. Gradients of what is the same everywhere are those of this
        process's queries, as with any parameter: their sum over the group is the whole gradient.

    Returns:
        `[B, l', heads, value_dim]`, this process's part of the outputs; with
        return_lse also the log-sum-exp.

    Raises:
        ValueError: if tensors, grid and group do not fit one another.
        RuntimeError: from the group, if a process of it fails or is late.
    """
    return fused(
        1,
        (query, key, value),
        (kernel_size, dilation, stride, is_causal, window_stride),
        scale,
        return_lse,
        (additional_keys, additional_values),
        rpb,
        full_size,
        grid,
        group,
    )


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
    full_size: Ints,
    grid: Ints | None = None,
    group: Any = None,
    rpb: Tensor | None = None,
    window_stride: Ints = 1,
) -> Result:
    """`natten_mps.na2d` of tokens that are spread over the processes of a group.

    Args:
        query: `[B, h, w, heads, dim]`, this process's part of the positions.
        key: `[B, h, w, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, h, w, kv_heads, value_dim]`.
        kernel_size: keys of a window; a window parameter is one value or one per axis.
        stride: compute only every `stride`-th query.
        dilation: distance between the keys of a window.
        is_causal: whether a query sees no key after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, which every query sees; the same everywhere.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        full_size: length of the whole axes.
        grid: processes along each axis, of which the last changes fastest with the rank; None: all
            along the first. Positions are cut as torch.chunk cuts, and outputs too.
        group: a process group, all of whose processes call; None: the default one.
        rpb: `[heads, 2K - 1, 2K - 1]`, relative position bias; the same everywhere.
        window_stride: queries that share one window, the `stride` of NATTEN 0.20 and later.

    Constraints:
        As for `natten_mps.na2d`. Gradients of what is the same everywhere are those of this
        process's queries, as with any parameter: their sum over the group is the whole gradient.

    Returns:
        `[B, h', w', heads, value_dim]`, this process's part of the outputs; with
        return_lse also the log-sum-exp.

    Raises:
        ValueError: if tensors, grid and group do not fit one another.
        RuntimeError: from the group, if a process of it fails or is late.
    """
    return fused(
        2,
        (query, key, value),
        (kernel_size, dilation, stride, is_causal, window_stride),
        scale,
        return_lse,
        (additional_keys, additional_values),
        rpb,
        full_size,
        grid,
        group,
    )


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
    full_size: Ints,
    grid: Ints | None = None,
    group: Any = None,
    rpb: Tensor | None = None,
    window_stride: Ints = 1,
) -> Result:
    """`natten_mps.na3d` of tokens that are spread over the processes of a group.

    Args:
        query: `[B, d, h, w, heads, dim]`, this process's part of the positions.
        key: `[B, d, h, w, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, d, h, w, kv_heads, value_dim]`.
        kernel_size: keys of a window; a window parameter is one value or one per axis.
        stride: compute only every `stride`-th query.
        dilation: distance between the keys of a window.
        is_causal: whether a query sees no key after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, which every query sees; the same everywhere.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        full_size: length of the whole axes.
        grid: processes along each axis, of which the last changes fastest with the rank; None: all
            along the first. Positions are cut as torch.chunk cuts, and outputs too.
        group: a process group, all of whose processes call; None: the default one.
        rpb: `[heads, 2K - 1, 2K - 1, 2K - 1]`, relative position bias; the same everywhere.
        window_stride: queries that share one window, the `stride` of NATTEN 0.20 and later.

    Constraints:
        As for `natten_mps.na3d`. Gradients of what is the same everywhere are those of this
        process's queries, as with any parameter: their sum over the group is the whole gradient.

    Returns:
        `[B, d', h', w', heads, value_dim]`, this process's part of the outputs; with
        return_lse also the log-sum-exp.

    Raises:
        ValueError: if tensors, grid and group do not fit one another.
        RuntimeError: from the group, if a process of it fails or is late.
    """
    return fused(
        3,
        (query, key, value),
        (kernel_size, dilation, stride, is_causal, window_stride),
        scale,
        return_lse,
        (additional_keys, additional_values),
        rpb,
        full_size,
        grid,
        group,
    )
