# SPDX-License-Identifier: MIT
"""The 1-D module, under the name that natten-mps 0.3.3 has for its home."""

from ..modules import NeighborhoodAttention1D

__all__ = ["NeighborhoodAttention1D"]
