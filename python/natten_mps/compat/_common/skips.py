# SPDX-License-Identifier: MIT
"""Decorator factories that skip tests of what this package does not have."""

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
