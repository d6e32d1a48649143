# SPDX-License-Identifier: MIT
"""The two-dimensional layer."""

from .._common.padded import UniformModule
from .functional import natten2dav, natten2dqkrpb


class NeighborhoodAttention2D(UniformModule):
    """Neighborhood attention over [B, H, W, C], with a relative position bias."""

    _rank = 2
    _qk = staticmethod(natten2dqkrpb)
    _av = staticmethod(natten2dav)
    _bias_name = "rel_pos_bias"
