# SPDX-License-Identifier: MIT
"""The 2-D module, under the name that natten-mps 0.3.3 has for its home."""

from ..modules import NeighborhoodAttention2D

__all__ = ["NeighborhoodAttention2D"]
