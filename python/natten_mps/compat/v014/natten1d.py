# SPDX-License-Identifier: MIT
"""The one-dimensional layer."""

from .._common.padded import UniformModule
from .functional import natten1dav, natten1dqkrpb


class NeighborhoodAttention1D(UniformModule):
    """Neighborhood attention over [B, L, C], with a relative position bias."""

    _rank = 1
    _qk = staticmethod(natten1dqkrpb)
    _av = staticmethod(natten1dav)
    _bias_name = "rel_pos_bias"
