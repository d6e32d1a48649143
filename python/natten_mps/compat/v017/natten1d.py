# SPDX-License-Identifier: MIT
"""Older path of the one-dimensional layer."""

from .na1d import NeighborhoodAttention1D as NeighborhoodAttention1D
from .utils.log import get_logger

get_logger(__name__).warning(
    "You attempted to import from natten.natten1d. Please switch to importing from "
    "natten.na1d instead."
)
