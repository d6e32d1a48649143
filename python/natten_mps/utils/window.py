# SPDX-License-Identifier: MIT
"""The window of a query: its description, and its extent along one axis."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

Index = TypeVar("Index", int, Tensor)


class Ranges(NamedTuple):
    """The part of every axis that the tensors hold. Positions, windows, dilation groups, masks and
    strides refer to the whole axis; the shapes of the tensors say how many positions are held."""

    query: tuple[int, ...]  # position of the first query, a multiple of query_step
    key: tuple[int, ...]  # position of the first key
    full: tuple[int, ...]  # positions of the whole axis


class Window(NamedTuple):
    """Which keys each query sees, with one entry per axis (see natten_mps_axis in
    include/natten_mps.h)."""

    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    stride: tuple[int, ...]  # queries that share a window, as in generalized neighborhood attention
    query_step: tuple[int, ...]  # only every query_step-th query is computed
    causal: tuple[bool, ...]
    mask_first: bool = False  # whether masked slots come first (natten-mps) or last (NATTEN 0.17)
    ranges: Ranges | None = None  # None: the tensors hold whole axes


def extent(window: Window, axis: int, length: int, position: int) -> tuple[int, int]:
    """First and last key that the query at `position` of an axis of `length` sees."""
    kernel, dilation, stride = window.kernel[axis], window.dilation[axis], window.stride[axis]
    group, residue = divmod(position, dilation)
    size = (length - residue + dilation - 1) // dilation
    first = group - group % stride
    if window.causal[axis]:
        start = max(min(first + stride - 1, size - 1) - kernel + 1, 0)
        return residue + start * dilation, position
    leader = min(first + stride // 2, size - 1)
    start = min(max(leader - kernel // 2, 0), size - kernel)
    return residue + start * dilation, residue + (start + kernel - 1) * dilation


def keys_of(window: Window, axis: int, length: int, first: int, count: int) -> range:
    """The smallest interval that contains every key seen by the queries of a range, as returned by
    natten_mps_window_range.

    Within a dilation group both ends of the window increase with the query, so the first and last
    query of each group suffice. With a query_step, the queries in between count as well.
    """
    step, dilation = window.query_step[axis], window.dilation[axis]
    last = first + (count - 1) // step * step
    begins = range(first, min(first + dilation, last + 1))
    ends = range(max(last - dilation + 1, first), last + 1)
    return range(
        min(extent(window, axis, length, i)[0] for i in begins),
        max(extent(window, axis, length, i)[1] for i in ends) + 1,
    )


def _start_and_size(
    index: Index, length: int, kernel_size: int, dilation: int
) -> tuple[Index, Index, Index]:
    """First position of a window in its dilation group, and the query's position and residue."""
    residue, position = index % dilation, index // dilation
    last = (length - residue + dilation - 1) // dilation - kernel_size
    start = position - kernel_size // 2
    if isinstance(start, Tensor):
        return torch.minimum(start.clamp(min=0), last), position, residue
    return min(max(start, 0), last), position, residue


def get_window_start(index: int, length: int, kernel_size: int, dilation: int = 1) -> int:
    """Index of the first key that the query at `index` sees along a non-causal axis."""
    start, _, residue = _start_and_size(index, length, kernel_size, dilation)
    return residue + start * dilation


def get_window_end(index: int, length: int, kernel_size: int, dilation: int = 1) -> int:
    """Index of the last key that the query at `index` sees (inclusive)."""
    return get_window_start(index, length, kernel_size, dilation) + (kernel_size - 1) * dilation


def get_pb_start(index: int, length: int, kernel_size: int, dilation: int = 1) -> int:
    """Index into the relative position bias for the first key that the query at `index` sees."""
    start, position, _ = _start_and_size(index, length, kernel_size, dilation)
    return start - position + kernel_size - 1


def get_window_start_vectorized(
    indices: Tensor, length: int, kernel_size: int, dilation: int = 1
) -> Tensor:
    """get_window_start for each index."""
    start, _, residue = _start_and_size(indices, length, kernel_size, dilation)
    return residue + start * dilation


def get_window_end_vectorized(
    indices: Tensor, length: int, kernel_size: int, dilation: int = 1
) -> Tensor:
    """get_window_end for each index."""
    first = get_window_start_vectorized(indices, length, kernel_size, dilation)
    return first + (kernel_size - 1) * dilation


def get_pb_start_vectorized(
    indices: Tensor, length: int, kernel_size: int, dilation: int = 1
) -> Tensor:
    """get_pb_start for each index."""
    start, position, _ = _start_and_size(indices, length, kernel_size, dilation)
    return start - position + kernel_size - 1
