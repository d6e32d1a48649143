# SPDX-License-Identifier: MIT
"""Older path of the two-dimensional layer."""

from .na2d import NeighborhoodAttention2D as NeighborhoodAttention2D
from .utils.log import get_logger

get_logger(__name__).warning(
    "You attempted to import from natten.natten2d. Please switch to importing from "
    "natten.na2d instead."
)
