# SPDX-License-Identifier: MIT
"""The 2-D module, where natten-mps 0.3.3 has it."""

from ..modules import NeighborhoodAttention2D

__all__ = ["NeighborhoodAttention2D"]
