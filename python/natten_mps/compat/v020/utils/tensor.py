# SPDX-License-Identifier: MIT
"""Helpers for additional tokens."""

from ..._common import tokens

check_additional_keys = tokens.check_additional_keys
check_additional_values = tokens.check_additional_values
make_attn_tensor_from_input = tokens.make_attn_tensor_from_input
