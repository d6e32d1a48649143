# SPDX-License-Identifier: MIT
"""The layers of 0.14, with a relative position bias."""

from typing import Any

from .._common.padded import UniformModule
from .functional import natten1dav, natten1dqkrpb, natten2dav, natten2dqkrpb


class NeighborhoodAttention1D(UniformModule):
    """Neighborhood attention over [B, L, C]."""

    _rank, _bias_name = 1, "rel_pos_bias"
    _qk, _av = staticmethod(natten1dqkrpb), staticmethod(natten1dav)


class NeighborhoodAttention2D(UniformModule):
    """Neighborhood attention over [B, H, W, C]."""

    _rank, _bias_name = 2, "rel_pos_bias"
    _qk, _av = staticmethod(natten2dqkrpb), staticmethod(natten2dav)


#: Releases up to 0.14.4 also use this name for the 2-D layer.
NeighborhoodAttention: Any = NeighborhoodAttention2D
