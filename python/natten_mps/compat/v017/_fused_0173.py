# SPDX-License-Identifier: MIT
"""The fused autograd functions until 0.17.3, which do not return the log-sum-exp."""

from . import _fused

FusedNeighborhoodAttention1D = _fused.FUNCTIONS_0173[1]
FusedNeighborhoodAttention2D = _fused.FUNCTIONS_0173[2]
FusedNeighborhoodAttention3D = _fused.FUNCTIONS_0173[3]
