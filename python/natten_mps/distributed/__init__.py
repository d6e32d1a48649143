# SPDX-License-Identifier: MIT
"""Neighborhood attention on tokens that are distributed over processes with torch.distributed.

Every process holds a part of the positions, split as by torch.chunk and DTensor. To compute a
query, a process needs all keys of its window, some of which belong to other processes. One
all-to-all transfers exactly those rows; meanwhile the process computes the queries that need none
of them. The backward pass sends the gradients of these rows back and adds them in the order of
ranks, so results do not depend on timing.

With DTensors, `natten_mps.na2d(query, key, value, ...)` and the modules do all this automatically.
The functions here are for local tensors and a process group. The backend of the group may be gloo
(tensors on a device that it does not support, such as MPS, go through host memory) or NCCL.
"""

from typing import Any

from torch import Tensor

from .._types import Bools, Ints, Result, Scale
from ._function import fused
from ._modules import distribute_module

__all__ = ["distribute_module", "na1d", "na2d", "na3d"]


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
    """`natten_mps.na1d` on tokens that are distributed over the processes of a group.

    Args:
        query: `[B, l, heads, dim]`, this process's part of the positions.
        key: `[B, l, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, l, kv_heads, value_dim]`.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        stride: compute only every `stride`-th query.
        dilation: step between neighboring keys of a window.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query; the same in all processes.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        full_size: length of the whole axes.
        grid: number of processes along each axis, the last axis fastest in rank; None: all along
            the first. Positions and outputs are split as by torch.chunk.
        group: a process group, all of whose processes must call; None: the default group.
        rpb: `[heads, 2K - 1]`, relative position bias; the same in all processes.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.

    Constraints:
        As for `natten_mps.na1d`. Gradients of tensors that all processes share come from this
        process's queries only; as for any parameter, sum them over the group.

    Returns:
        `[B, l', heads, value_dim]`, this process's part of the outputs; with
        return_lse, also the log-sum-exp.

    Raises:
        ValueError: if tensors, grid and group do not match.
        RuntimeError: from the process group, if one of its processes fails or times out.
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
    """`natten_mps.na2d` on tokens that are distributed over the processes of a group.

    Args:
        query: `[B, h, w, heads, dim]`, this process's part of the positions.
        key: `[B, h, w, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, h, w, kv_heads, value_dim]`.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        stride: compute only every `stride`-th query.
        dilation: step between neighboring keys of a window.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query; the same in all processes.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        full_size: length of the whole axes.
        grid: number of processes along each axis, the last axis fastest in rank; None: all along
            the first. Positions and outputs are split as by torch.chunk.
        group: a process group, all of whose processes must call; None: the default group.
        rpb: `[heads, 2K - 1, 2K - 1]`, relative position bias; the same in all processes.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.

    Constraints:
        As for `natten_mps.na2d`. Gradients of tensors that all processes share come from this
        process's queries only; as for any parameter, sum them over the group.

    Returns:
        `[B, h', w', heads, value_dim]`, this process's part of the outputs; with
        return_lse, also the log-sum-exp.

    Raises:
        ValueError: if tensors, grid and group do not match.
        RuntimeError: from the process group, if one of its processes fails or times out.
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
    """`natten_mps.na3d` on tokens that are distributed over the processes of a group.

    Args:
        query: `[B, d, h, w, heads, dim]`, this process's part of the positions.
        key: `[B, d, h, w, kv_heads, dim]`, where kv_heads divides heads.
        value: `[B, d, h, w, kv_heads, value_dim]`.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        stride: compute only every `stride`-th query.
        dilation: step between neighboring keys of a window.
        is_causal: if true, a query does not see keys after its own position.
        scale: factor of the logits; None: `dim ** -0.5`.
        return_lse: also return the log-sum-exp of the logits.
        additional_keys: `[B, N, kv_heads, dim]`, seen by every query; the same in all processes.
        additional_values: `[B, N, kv_heads, value_dim]`, their values.
        full_size: length of the whole axes.
        grid: number of processes along each axis, the last axis fastest in rank; None: all along
            the first. Positions and outputs are split as by torch.chunk.
        group: a process group, all of whose processes must call; None: the default group.
        rpb: `[heads, 2K - 1, 2K - 1, 2K - 1]`, relative position bias; the same in all processes.
        window_stride: number of queries that share a window; `stride` in NATTEN 0.20 and later.

    Constraints:
        As for `natten_mps.na3d`. Gradients of tensors that all processes share come from this
        process's queries only; as for any parameter, sum them over the group.

    Returns:
        `[B, d', h', w', heads, value_dim]`, this process's part of the outputs; with
        return_lse, also the log-sum-exp.

    Raises:
        ValueError: if tensors, grid and group do not match.
        RuntimeError: from the process group, if one of its processes fails or times out.
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
