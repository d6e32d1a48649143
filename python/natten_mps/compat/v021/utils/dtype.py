# SPDX-License-Identifier: MIT
"""Questions about element types."""

import torch


def is_fp8(dtype: torch.dtype) -> bool:
    """An 8-bit floating point type."""
    return dtype.is_floating_point and dtype.itemsize == 1


def is_half(dtype: torch.dtype) -> bool:
    """A 16-bit floating point type."""
    return dtype in (torch.float16, torch.bfloat16)


def is_full(dtype: torch.dtype) -> bool:
    """float32."""
    return dtype == torch.float32
