# SPDX-License-Identifier: MIT
"""Window bounds and bias indices with the signatures of natten-mps 0.3.3's extras.

`neighborhood_size` is `kernel_size // 2` and ignored; see :mod:`natten_mps.utils.window`.
"""

from ...utils import window


def get_window_start(
    index: int, length: int, kernel_size: int, neighborhood_size: int, dilation: int
) -> int:
    """Index of the first key that the query at `index` sees."""
    return window.get_window_start(index, length, kernel_size, dilation)


def get_window_end(start_index: int, length: int, kernel_size: int, dilation: int) -> int:
    """Index just after the window that starts at `start_index`, clipped to `length`."""
    return min(length, start_index + kernel_size * dilation)


def get_pb_start(
    index: int, length: int, kernel_size: int, neighborhood_size: int, dilation: int
) -> int:
    """Index into the bias for the first key that the query at `index` sees."""
    return window.get_pb_start(index, length, kernel_size, dilation)
