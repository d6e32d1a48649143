# SPDX-License-Identifier: MIT
"""The 1-D Function classes, under the name that natten-mps 0.3.3 has for their home."""

from . import NA1DAVFunction, NA1DQKFunction, NeighborhoodAttention1DFunction

__all__ = ["NA1DAVFunction", "NA1DQKFunction", "NeighborhoodAttention1DFunction"]
