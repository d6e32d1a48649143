# SPDX-License-Identifier: MIT
"""Parameters of attention over packed sequences."""

from ..._common.gna import varlen

generate_varlen_parameters = varlen.generate_varlen_parameters
