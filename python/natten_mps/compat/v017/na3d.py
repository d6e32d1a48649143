# SPDX-License-Identifier: MIT
"""The three-dimensional layer."""

from ._modules import NeighborhoodAttention
from .functional import na3d, na3d_av, na3d_qk


class NeighborhoodAttention3D(NeighborhoodAttention):
    """Neighborhood attention over [B, D, H, W, C]."""

    _rank = 3
    _qk = staticmethod(na3d_qk)
    _av = staticmethod(na3d_av)
    _fused = staticmethod(na3d)
