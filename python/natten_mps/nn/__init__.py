# SPDX-License-Identifier: MIT
"""The modules, under the name that natten-mps has for their home."""

from ..modules import NeighborhoodAttention1D, NeighborhoodAttention2D, NeighborhoodAttention3D

__all__ = ["NeighborhoodAttention1D", "NeighborhoodAttention2D", "NeighborhoodAttention3D"]
