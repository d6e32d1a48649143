# SPDX-License-Identifier: MIT
"""The 3-D Function classes, under the name that natten-mps 0.3.3 has for their home."""

from . import NA3DAVFunction, NA3DQKFunction, NeighborhoodAttention3DFunction

__all__ = ["NA3DAVFunction", "NA3DQKFunction", "NeighborhoodAttention3DFunction"]
