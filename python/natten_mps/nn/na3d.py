# SPDX-License-Identifier: MIT
"""The 3-D module, where natten-mps 0.3.3 has it."""

from ..modules import NeighborhoodAttention3D

__all__ = ["NeighborhoodAttention3D"]
