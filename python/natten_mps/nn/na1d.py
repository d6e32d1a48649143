# SPDX-License-Identifier: MIT
"""The 1-D module, where natten-mps 0.3.3 has it."""

from ..modules import NeighborhoodAttention1D

__all__ = ["NeighborhoodAttention1D"]
