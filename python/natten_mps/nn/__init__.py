# SPDX-License-Identifier: MIT
"""The modules, in the package where natten-mps 0.3.3 has them."""

from ..modules import NeighborhoodAttention1D, NeighborhoodAttention2D, NeighborhoodAttention3D

__all__ = ["NeighborhoodAttention1D", "NeighborhoodAttention2D", "NeighborhoodAttention3D"]
