# SPDX-License-Identifier: MIT
"""The one-dimensional layer."""

from ._modules import NeighborhoodAttention
from .functional import natten1dav, natten1dqkrpb


class NeighborhoodAttention1D(NeighborhoodAttention):
    """Neighborhood attention over [B, L, C], with a relative position bias."""

    _rank = 1
    _qk = staticmethod(natten1dqkrpb)
    _av = staticmethod(natten1dav)
