# SPDX-License-Identifier: MIT
"""The one-dimensional layer."""

from ._modules import NeighborhoodAttention
from .functional import na1d, na1d_av, na1d_qk


class NeighborhoodAttention1D(NeighborhoodAttention):
    """Neighborhood attention over [B, L, C]."""

    _rank = 1
    _qk = staticmethod(na1d_qk)
    _av = staticmethod(na1d_av)
    _fused = staticmethod(na1d)
