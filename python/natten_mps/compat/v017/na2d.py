# SPDX-License-Identifier: MIT
"""The two-dimensional layer."""

from ._modules import NeighborhoodAttention
from .functional import na2d, na2d_av, na2d_qk


class NeighborhoodAttention2D(NeighborhoodAttention):
    """Neighborhood attention over [B, H, W, C]."""

    _rank = 2
    _qk = staticmethod(na2d_qk)
    _av = staticmethod(na2d_av)
    _fused = staticmethod(na2d)
