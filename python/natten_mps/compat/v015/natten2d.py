# SPDX-License-Identifier: MIT
"""The two-dimensional layer."""

from .._common.padded import UniformModule
from .functional import na2d_av, na2d_qk_with_bias


class NeighborhoodAttention2D(UniformModule):
    """Neighborhood attention over [B, H, W, C], with a relative position bias."""

    _rank = 2
    _qk = staticmethod(na2d_qk_with_bias)
    _av = staticmethod(na2d_av)
    _bias_name = "has_bias"
