# SPDX-License-Identifier: MIT
"""Older path of the three-dimensional layer."""

from .na3d import NeighborhoodAttention3D as NeighborhoodAttention3D
from .utils.log import get_logger

get_logger(__name__).warning(
    "You attempted to import from natten.natten3d. Please switch to importing from "
    "natten.na3d instead."
)
