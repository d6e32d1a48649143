# SPDX-License-Identifier: MIT
"""Split attention with a relative position bias, as the all-in-one music model calls it."""

from .functional import (
    na1d_av_fused,
    na1d_qk_rpb,
    na2d_av_fused,
    na2d_qk_rpb,
    na3d_av_fused,
    na3d_qk_rpb,
    natten1dav,
    natten1dqkrpb,
    natten2dav,
    natten2dqkrpb,
)

__all__ = [
    "na1d_av_fused",
    "na1d_qk_rpb",
    "na2d_av_fused",
    "na2d_qk_rpb",
    "na3d_av_fused",
    "na3d_qk_rpb",
    "natten1dav",
    "natten1dqkrpb",
    "natten2dav",
    "natten2dqkrpb",
]
