# SPDX-License-Identifier: MIT
"""The 2-D Function classes, in the module where natten-mps 0.3.3 has them."""

from . import NA2DAVFunction, NA2DQKFunction, NeighborhoodAttention2DFunction

__all__ = ["NA2DAVFunction", "NA2DQKFunction", "NeighborhoodAttention2DFunction"]
