# SPDX-License-Identifier: MIT
"""Decorator factories that skip tests."""

from ..._common import skips

skip_if_cuda_is_not_supported = skips.skip_if_cuda_is_not_supported
skip_if_gemm_is_not_supported = skips.skip_if_gemm_is_not_supported
skip_if_gemm_does_not_support_double_precision = (
    skips.skip_if_gemm_does_not_support_double_precision
)
skip_if_nested_is_not_supported = skips.skip_if_nested_is_not_supported
