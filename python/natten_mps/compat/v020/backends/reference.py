# SPDX-License-Identifier: MIT
"""Neighborhood attention without choices."""

from ..._common.gna import flex

reference_fna_generic = flex.reference_fna_generic
na1d_reference = na2d_reference = na3d_reference = reference_fna_generic
