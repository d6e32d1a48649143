# SPDX-License-Identifier: MIT
"""Counts of releases up to 0.17.3, which include bias and softmax."""

from . import flops

add_natten_handle, get_flops = flops.with_bias
