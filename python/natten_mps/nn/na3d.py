# SPDX-License-Identifier: MIT
"""The 3-D module, under the name that natten-mps 0.3.3 has for its home."""

from ..modules import NeighborhoodAttention3D

__all__ = ["NeighborhoodAttention3D"]
