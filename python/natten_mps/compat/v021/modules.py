# SPDX-License-Identifier: MIT
"""Layers: neighborhood attention with projections before and after, as in 0.20."""

from ..v020 import modules as _modules

NeighborhoodAttentionGeneric = _modules.NeighborhoodAttentionGeneric
NeighborhoodAttention1D = _modules.NeighborhoodAttention1D
NeighborhoodAttention2D = _modules.NeighborhoodAttention2D
NeighborhoodAttention3D = _modules.NeighborhoodAttention3D
