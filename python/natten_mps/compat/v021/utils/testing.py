# SPDX-License-Identifier: MIT
"""Decorator factories that skip tests, and what devices support."""

from ..._common import skips

skip_if_libnatten_is_not_supported = skips.skip_if_libnatten_is_not_supported
skip_if_cuda_is_not_supported = skips.skip_if_cuda_is_not_supported
skip_if_flex_is_not_supported = skips.skip_if_flex_is_not_supported
skip_if_flex_compile_is_not_supported = skips.skip_if_flex_compile_is_not_supported
skip_if_not_running_extended_tests = skips.skip_if_not_running_extended_tests
skip_if_hopper_kernels_not_supported = skips.skip_if_hopper_kernels_not_supported
skip_if_blackwell_kernels_not_supported = skips.skip_if_blackwell_kernels_not_supported
supports_float16 = skips.supports_float16
supports_bfloat16 = skips.supports_bfloat16
