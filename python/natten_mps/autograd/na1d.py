# SPDX-License-Identifier: MIT
"""The 1-D Function classes, in the module where natten-mps 0.3.3 has them."""

from . import NA1DAVFunction, NA1DQKFunction, NeighborhoodAttention1DFunction

__all__ = ["NA1DAVFunction", "NA1DQKFunction", "NeighborhoodAttention1DFunction"]
