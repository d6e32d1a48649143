# SPDX-License-Identifier: MIT
"""Small helpers."""

from math import prod

from ..._common import capabilities
from ..types import DimensionType

get_device_cc = capabilities.get_device_cc


def get_num_na_weights(kernel_size: DimensionType) -> int:
    """Attention weights of one query."""
    return prod(kernel_size)
