# SPDX-License-Identifier: MIT
"""Queries about hardware and dtypes. This package has no CUDA or GEMM kernels, and supports float16
and bfloat16 everywhere. Device arguments are accepted and ignored."""

from typing import Any

import torch

from ... import _lib


def has_compiled_kernels() -> bool:
    """Whether the compiled library exists; it is not loaded before the first operation."""
    return _lib.path().is_file()


def get_device_cc(device_index: Any = None) -> int:
    """CUDA compute capability, major * 10 + minor; 0 without CUDA."""
    if not torch.cuda.is_available():
        return 0
    major, minor = torch.cuda.get_device_capability(device_index)
    return major * 10 + minor


def has_cuda() -> bool:
    """Returns False: there are no CUDA kernels here."""
    return False


def has_half(device_index: Any = None) -> bool:
    """Returns True: float16 and bfloat16 work on every device."""
    return True


def has_gemm(device_index: Any = None) -> bool:
    """Returns False: there are no GEMM-based CUDA kernels here."""
    return False


has_bfloat = has_half
has_tf32_gemm = has_fp32_gemm = has_fp64_gemm = has_gemm


def is_cuda(device: torch.device) -> bool:
    """Whether the device is an NVIDIA GPU."""
    return device.type == "cuda" and torch.version.hip is None


def is_rocm(device: torch.device) -> bool:
    """Whether the device is an AMD GPU."""
    return device.type == "cuda" and torch.version.hip is not None


def is_cpu(device: torch.device) -> bool:
    """Whether the device is the CPU."""
    return device.type == "cpu"


def is_fp8(dtype: torch.dtype) -> bool:
    """Whether the dtype is an 8-bit floating-point type."""
    return dtype.is_floating_point and dtype.itemsize == 1


def is_half(dtype: torch.dtype) -> bool:
    """Whether the dtype is a 16-bit floating-point type."""
    return dtype in (torch.float16, torch.bfloat16)


def is_full(dtype: torch.dtype) -> bool:
    """Whether the dtype is float32."""
    return dtype == torch.float32
