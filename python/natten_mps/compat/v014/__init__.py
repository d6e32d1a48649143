# SPDX-License-Identifier: MIT
"""NATTEN 0.14: ``natten{1,2}d{qk,qkrpb,av}`` and modules with relative position bias."""

from . import functional as functional
from .natten1d import NeighborhoodAttention1D as NeighborhoodAttention1D
from .natten2d import NeighborhoodAttention2D as NeighborhoodAttention2D

__version__ = "0.14.6"
