# SPDX-License-Identifier: MIT
"""Checks and helpers."""

from .checks import (
    check_all_args,
    check_backward_tiling_config,
    check_causal_arg,
    check_dilation_arg,
    check_input_size_arg,
    check_kernel_size_arg,
    check_tiling_config,
)
from .misc import get_device_cc, get_num_na_weights
from .tensor import check_additional_keys, check_additional_values, make_attn_tensor_from_input

__all__ = [
    "check_additional_keys",
    "check_additional_values",
    "check_all_args",
    "check_backward_tiling_config",
    "check_causal_arg",
    "check_dilation_arg",
    "check_input_size_arg",
    "check_kernel_size_arg",
    "check_tiling_config",
    "get_device_cc",
    "get_num_na_weights",
    "make_attn_tensor_from_input",
]
