# SPDX-License-Identifier: MIT
"""Decorator factories that skip tests of what this package does not have."""

import os
from collections.abc import Callable
from typing import Any
from unittest import skipIf

import torch

Decorator = Callable[[Any], Any]


def skip_if_cuda_is_not_supported() -> Decorator:
    """Skips: there are no CUDA kernels."""
    return skipIf(True, "CUDA is not supported.")


def skip_if_gemm_is_not_supported() -> Decorator:
    """Skips: there are no GEMM-based CUDA kernels."""
    return skipIf(True, "GEMM kernels are not supported.")


def skip_if_gemm_does_not_support_double_precision() -> Decorator:
    """Skips: there are no GEMM-based CUDA kernels."""
    return skipIf(True, "GEMM kernels do not support double precision.")


def skip_if_nested_is_not_supported() -> Decorator:
    """Skips where torch has no nested tensors."""
    return skipIf(not hasattr(torch, "nested"), "Nested tensors are not supported.")


def skip_if_libnatten_is_not_supported() -> Decorator:
    """Skips: there is no extension of CUDA kernels."""
    return skipIf(True, "Libnatten is not supported.")


def skip_if_flex_is_not_supported() -> Decorator:
    """Never skips: what Flex Attention would compute works."""
    return skipIf(False, "")


def skip_if_flex_compile_is_not_supported() -> Decorator:
    """Skips: nothing is compiled."""
    return skipIf(True, "Flex compilation is not supported.")


def skip_if_not_running_extended_tests() -> Decorator:
    """Skips unless NATTEN_RUN_EXTENDED_TESTS is 1."""
    return skipIf(os.environ.get("NATTEN_RUN_EXTENDED_TESTS") != "1", "Not running extended tests.")


def skip_if_hopper_kernels_not_supported() -> Decorator:
    """Skips: there are no CUDA kernels."""
    return skipIf(True, "Hopper kernels are not supported.")


def skip_if_blackwell_kernels_not_supported() -> Decorator:
    """Skips: there are no CUDA kernels."""
    return skipIf(True, "Blackwell kernels are not supported.")


def supports_float16(device: torch.device) -> bool:
    """float16 works on every device."""
    return True


def supports_bfloat16(device: torch.device) -> bool:
    """bfloat16 works on every device."""
    return True
