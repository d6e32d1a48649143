# SPDX-License-Identifier: MIT
"""The window of a query: its description, and its extent along one axis."""

from typing import NamedTuple, TypeVar

from torch import Tensor

Index = TypeVar("Index", int, Tensor)


class Window(NamedTuple):
    """Which keys each query sees, with one entry an axis (see natten_mps_axis in
    include/natten_mps.h)."""

    kernel: tuple[int, ...]
    dilation: tuple[int, ...]
    stride: tuple[int, ...]  # of generalized neighborhood attention: queries sharing a window
    query_step: tuple[int, ...]  # only every query_step-th query is computed
    causal: tuple[bool, ...]
    mask_first: bool = False  # causal slots: masked ones lead (natten-mps) or trail (NATTEN 0.17)
