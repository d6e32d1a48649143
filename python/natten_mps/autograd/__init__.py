# SPDX-License-Identifier: MIT
"""The nine autograd Function classes of natten-mps; only `apply` is supported."""

from ..functional import (
    NA1DAVFunction,
    NA1DQKFunction,
    NA2DAVFunction,
    NA2DQKFunction,
    NA3DAVFunction,
    NA3DQKFunction,
    NeighborhoodAttention1DFunction,
    NeighborhoodAttention2DFunction,
    NeighborhoodAttention3DFunction,
)

__all__ = [
    "NA1DAVFunction",
    "NA1DQKFunction",
    "NA2DAVFunction",
    "NA2DQKFunction",
    "NA3DAVFunction",
    "NA3DQKFunction",
    "NeighborhoodAttention1DFunction",
    "NeighborhoodAttention2DFunction",
    "NeighborhoodAttention3DFunction",
]
