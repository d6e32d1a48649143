# SPDX-License-Identifier: MIT
"""The window of a query: its description, and its extent along one axis."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

Index = TypeVar("Index", int, Tensor)


class Window(NamedTuple):
    """Which keys each query sees, with one entry per axis (see natten_mps_axis in
    include/natten_mps.h)."""

    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    stride: tuple[int, ...]  # of generalized neighborhood attention: queries sharing a window
    query_step: tuple[int, ...]  # only every query_step-th query is computed
    causal: tuple[bool, ...]
    mask_first: bool = False  # causal slots: masked ones lead (natten-mps) or trail (NATTEN 0.17)


def _start_and_size(
    index: Index, length: int, kernel_size: int, dilation: int
) -> tuple[Index, Index, Index]:
    """First position of a window in its dilation group, and position and residue of the query."""
    residue, position = index % dilation, index // dilation
    last = (length - residue + dilation - 1) // dilation - kernel_size
    start = position - kernel_size // 2
    if isinstance(start, Tensor):
        return torch.minimum(start.clamp(min=0), last), position, residue
    return min(max(start, 0), last), position, residue


def get_window_start(index: int, length: int, kernel_size: int, dilation: int = 1) -> int:
    """Index of the first key that the query at `index` sees along an axis, not causal."""
    start, _, residue = _start_and_size(index, length, kernel_size, dilation)
    return residue + start * dilation


def get_window_end(index: int, length: int, kernel_size: int, dilation: int = 1) -> int:
    """Index of the last key that the query at `index` sees, itself included."""
    return get_window_start(index, length, kernel_size, dilation) + (kernel_size - 1) * dilation


def get_pb_start(index: int, length: int, kernel_size: int, dilation: int = 1) -> int:
    """Index into the relative position bias of the first key that the query at `index` sees."""
    start, position, _ = _start_and_size(index, length, kernel_size, dilation)
    return start - position + kernel_size - 1


def get_window_start_vectorized(
    indices: Tensor, length: int, kernel_size: int, dilation: int = 1
) -> Tensor:
    """get_window_start of each index."""
    start, _, residue = _start_and_size(indices, length, kernel_size, dilation)
    return residue + start * dilation


def get_window_end_vectorized(
    indices: Tensor, length: int, kernel_size: int, dilation: int = 1
) -> Tensor:
    """get_window_end of each index."""
    first = get_window_start_vectorized(indices, length, kernel_size, dilation)
    return first + (kernel_size - 1) * dilation


def get_pb_start_vectorized(
    indices: Tensor, length: int, kernel_size: int, dilation: int = 1
) -> Tensor:
    """get_pb_start of each index."""
    start, position, _ = _start_and_size(indices, length, kernel_size, dilation)
    return start - position + kernel_size - 1
