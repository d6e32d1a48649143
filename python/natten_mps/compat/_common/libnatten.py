# SPDX-License-Identifier: MIT
"""Flags by which programs test for upstream's compiled extension."""

from .capabilities import has_compiled_kernels

#: Whether compiled kernels compute the operations.
HAS_LIBNATTEN = has_compiled_kernels()
