# SPDX-License-Identifier: MIT
"""The fused operations under the names of the Flex Attention backend."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from . import functional


def can_run_flex_attention(input_shape: Sequence[int]) -> bool:
    """Whether the `flex_na*d` functions take query, key and value of that shape: they do."""
    return len(input_shape) in (4, 5, 6)


def flex_na1d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Any,
    dilation: Any = 1,
    is_causal: Any = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    xformers_kwargs: dict[str, Any] | None = None,
) -> Tensor:
    """As na1d, without a bias or a scale."""
    return functional.na1d(
        query,
        key,
        value,
        kernel_size,
        dilation,
        is_causal,
        additional_keys=additional_keys,
        additional_values=additional_values,
        xformers_kwargs=xformers_kwargs,
    )


def flex_na2d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Any,
    dilation: Any = 1,
    is_causal: Any = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    xformers_kwargs: dict[str, Any] | None = None,
) -> Tensor:
    """As na2d, without a bias or a scale."""
    return functional.na2d(
        query,
        key,
        value,
        kernel_size,
        dilation,
        is_causal,
        additional_keys=additional_keys,
        additional_values=additional_values,
        xformers_kwargs=xformers_kwargs,
    )


def flex_na3d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Any,
    dilation: Any = 1,
    is_causal: Any = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    xformers_kwargs: dict[str, Any] | None = None,
) -> Tensor:
    """As na3d, without a bias or a scale."""
    return functional.na3d(
        query,
        key,
        value,
        kernel_size,
        dilation,
        is_causal,
        additional_keys=additional_keys,
        additional_values=additional_values,
        xformers_kwargs=xformers_kwargs,
    )
