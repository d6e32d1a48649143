# SPDX-License-Identifier: MIT
"""Windows and places in the bias, in the form that natten-mps 0.3.3's extras have them.

`neighborhood_size` is `kernel_size // 2` and follows from it; see :mod:`natten_mps.utils.window`.
"""

from ...utils import window


def get_window_start(
    index: int, length: int, kernel_size: int, neighborhood_size: int, dilation: int
) -> int:
    """Index of the first key that the query at `index` sees."""
    return window.get_window_start(index, length, kernel_size, dilation)


def get_window_end(start_index: int, length: int, kernel_size: int, dilation: int) -> int:
    """Where the window that starts at `start_index` ends, the first index outside it."""
    return min(length, start_index + kernel_size * dilation)


def get_pb_start(
    index: int, length: int, kernel_size: int, neighborhood_size: int, dilation: int
) -> int:
    """Index into the bias of the first key that the query at `index` sees."""
    return window.get_pb_start(index, length, kernel_size, dilation)
