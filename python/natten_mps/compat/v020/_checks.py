# SPDX-License-Identifier: MIT
"""Tensor checks without grouped queries, and a test for windows that are full attention."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .._common.gna import arguments, tensors


def is_self_attention(input_tensor: Tensor, kernel_size: Any, is_causal: Any) -> bool:
    """Whether windows cover the whole layout and are not causal."""
    return arguments.is_self_attention(input_tensor, kernel_size, is_causal, True)


def _ungrouped(check: Callable[..., bool], name: str) -> Any:
    def tensor_checks(
        query: Tensor, key: Tensor, value: Tensor, must_match_head_dims: bool = False,
        raise_error: bool = True, backend_name: str | None = None,
    ) -> bool:  # fmt: skip
        """Checks that query, key and value match and have equal numbers of heads."""
        more = (must_match_head_dims, False, raise_error, backend_name)
        return check(query, key, value, *more)

    tensor_checks.__name__ = tensor_checks.__qualname__ = name
    return tensor_checks


na_tensor_checks = _ungrouped(tensors.na_tensor_checks, "na_tensor_checks")
fmha_tensor_checks = _ungrouped(tensors.fmha_tensor_checks, "fmha_tensor_checks")


def additional_kv_tensor_checks(
    query: Tensor, key: Tensor, value: Tensor, add_key: Tensor | None = None,
    add_value: Tensor | None = None, must_match_head_dims: bool = False,
) -> None:  # fmt: skip
    """Checks that additional keys and values [B, T, H, D], both or neither, match the rest."""
    additional = (add_key, add_value, must_match_head_dims, False)
    tensors.additional_kv_tensor_checks(query, key, value, *additional)
