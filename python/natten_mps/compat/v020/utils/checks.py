# SPDX-License-Identifier: MIT
"""Checks of arguments and tensors."""

from torch import Tensor

from ..._common.gna import arguments, tensors
from ..types import CausalArgType, DimensionType

check_all_args = arguments.check_all_args
check_args_against_input = arguments.check_args_against_input
check_causal_arg = arguments.check_causal_arg
check_dilation_arg = arguments.check_dilation_arg
check_input_size_arg = arguments.check_input_size_arg
check_kernel_schedule = arguments.check_kernel_schedule
check_kernel_size_arg = arguments.check_kernel_size_arg
check_stride_arg = arguments.check_stride_arg
check_tile_shape = arguments.check_tile_shape


def is_self_attention(
    input_tensor: Tensor, kernel_size: DimensionType, is_causal: CausalArgType
) -> bool:
    """Whether windows are the whole layout and not causal."""
    return arguments.is_self_attention(input_tensor, kernel_size, is_causal, True)


def na_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    must_match_head_dims: bool = False,
    raise_error: bool = True,
    backend_name: str | None = None,
) -> bool:
    """Query, key and value [B, axes..., H, D] fit together."""
    return tensors.na_tensor_checks(
        query, key, value, must_match_head_dims, False, raise_error, backend_name
    )


def fmha_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    must_match_head_dims: bool = False,
    raise_error: bool = True,
    backend_name: str | None = None,
) -> bool:
    """Query, key and value [B, S, H, D] fit together."""
    return tensors.fmha_tensor_checks(
        query, key, value, must_match_head_dims, False, raise_error, backend_name
    )


def additional_kv_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    add_key: Tensor | None = None,
    add_value: Tensor | None = None,
    must_match_head_dims: bool = False,
) -> None:
    """Additional keys and values [B, T, H, D], both or neither, fit the rest."""
    tensors.additional_kv_tensor_checks(
        query, key, value, add_key, add_value, must_match_head_dims, False
    )
