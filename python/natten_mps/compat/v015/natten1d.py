# SPDX-License-Identifier: MIT
"""The one-dimensional layer."""

from .._common.padded import UniformModule
from .functional import na1d_av, na1d_qk_with_bias


class NeighborhoodAttention1D(UniformModule):
    """Neighborhood attention over [B, L, C], with a relative position bias."""

    _rank = 1
    _qk = staticmethod(na1d_qk_with_bias)
    _av = staticmethod(na1d_av)
    _bias_name = "has_bias"
