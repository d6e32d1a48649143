# SPDX-License-Identifier: MIT
"""What code asks about the hardware, answered for this package: no CUDA, no GEMM kernels,
half and bfloat16 everywhere. A device index is accepted and means nothing."""

from typing import Any

import torch

from ... import _lib


def has_compiled_kernels() -> bool:
    """Whether this package's library is there; it is loaded by the first operation only."""
    return _lib.path().is_file()


def get_device_cc(device_index: Any = None) -> int:
    """CUDA compute capability, major * 10 + minor; 0 without CUDA."""
    if not torch.cuda.is_available():
        return 0
    major, minor = torch.cuda.get_device_capability(device_index)
    return major * 10 + minor


def has_cuda() -> bool:
    """There are no CUDA kernels here."""
    return False


def has_half(device_index: Any = None) -> bool:
    """float16 works on every device."""
    return True


def has_bfloat(device_index: Any = None) -> bool:
    """bfloat16 works on every device."""
    return True


def has_gemm(device_index: Any = None) -> bool:
    """There are no GEMM-based CUDA kernels here."""
    return False


def has_tf32_gemm(device_index: Any = None) -> bool:
    """There are no GEMM-based CUDA kernels here."""
    return False


def has_fp32_gemm(device_index: Any = None) -> bool:
    """There are no GEMM-based CUDA kernels here."""
    return False


def has_fp64_gemm(device_index: Any = None) -> bool:
    """There are no GEMM-based CUDA kernels here."""
    return False
