# SPDX-License-Identifier: MIT
"""Attention to additional tokens, written into the outputs given."""

from .._common import cross

qk_cross_forward = cross.qk_cross_forward
qk_cross_backward = cross.qk_cross_backward
av_cross_forward = cross.av_cross_forward
av_cross_backward = cross.av_cross_backward
