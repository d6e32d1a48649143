# SPDX-License-Identifier: MIT
"""The 2-D Function classes, under the name that natten-mps 0.3.3 has for their home."""

from . import NA2DAVFunction, NA2DQKFunction, NeighborhoodAttention2DFunction

__all__ = ["NA2DAVFunction", "NA2DQKFunction", "NeighborhoodAttention2DFunction"]
