# SPDX-License-Identifier: MIT
"""Split operations on nested tensors, for inference: all inputs must be nested leaves."""

from . import functional

na1d_qk_nested = functional.na1d_qk
na1d_av_nested = functional.na1d_av
na2d_qk_nested = functional.na2d_qk
na2d_av_nested = functional.na2d_av
na3d_qk_nested = functional.na3d_qk
na3d_av_nested = functional.na3d_av
