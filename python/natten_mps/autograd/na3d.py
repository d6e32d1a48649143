# SPDX-License-Identifier: MIT
"""The 3-D Function classes, in the module where natten-mps 0.3.3 has them."""

from . import NA3DAVFunction, NA3DQKFunction, NeighborhoodAttention3DFunction

__all__ = ["NA3DAVFunction", "NA3DQKFunction", "NeighborhoodAttention3DFunction"]
