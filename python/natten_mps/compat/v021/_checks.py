# SPDX-License-Identifier: MIT
"""Checks of arguments and tensors."""

from .._common.gna import arguments, tensors, varlen

check_all_args = arguments.check_all_args
check_args_against_input = arguments.check_args_against_input
check_causal_arg = arguments.check_causal_arg
check_dilation_arg = arguments.check_dilation_arg
check_input_size_arg = arguments.check_input_size_arg
check_kernel_schedule = arguments.check_kernel_schedule
check_kernel_size_arg = arguments.check_kernel_size_arg
check_stride_arg = arguments.check_stride_arg
check_tile_shape = arguments.check_tile_shape
is_self_attention = arguments.is_self_attention
additional_kv_tensor_checks = tensors.additional_kv_tensor_checks
fmha_tensor_checks = tensors.fmha_tensor_checks
na_tensor_checks = tensors.na_tensor_checks
varlen_tensor_checks = varlen.varlen_tensor_checks
