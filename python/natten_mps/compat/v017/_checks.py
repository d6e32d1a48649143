# SPDX-License-Identifier: MIT
"""Arguments that take one value for all axes or one per axis. The operations check later whether
values are in range."""

from collections.abc import Sequence
from math import prod
from typing import Any

from natten_mps.ops import Window

from .._common.split import window as make_window
from .._common.types import CausalArgType, DimensionType
from .._common.windows import Windows


def _per_axis(na_dim: int, name: str, value: Any, kind: type, words: str) -> tuple[Any, ...]:
    if isinstance(value, kind):
        return (value,) * na_dim
    if (
        isinstance(value, Sequence)
        and len(value) == na_dim
        and all(isinstance(x, kind) for x in value)
    ):
        return tuple(value)
    raise ValueError(f"Invalid value for `{name}`; expected {words}, got {type(value)}")


def _integers(na_dim: int, name: str, value: Any) -> DimensionType:
    return _per_axis(na_dim, name, value, int, "an integer or tuple of integers")


def check_kernel_size_arg(na_dim: int, kernel_size: Any) -> DimensionType:
    """Returns the kernel size per axis."""
    return _integers(na_dim, "kernel_size", kernel_size)


def check_dilation_arg(na_dim: int, dilation: Any) -> DimensionType:
    """Returns the dilation per axis; None means 1."""
    return _integers(na_dim, "dilation", 1 if dilation is None else dilation)


def check_input_size_arg(na_dim: int, input_size: Any) -> DimensionType:
    """Returns the length per axis."""
    return _integers(na_dim, "input_size", input_size)


def check_causal_arg(na_dim: int, is_causal: Any) -> CausalArgType:
    """Returns causality per axis; None means False."""
    causal = False if is_causal is None else is_causal
    words = "a boolean or tuple of booleans"
    return _per_axis(na_dim, "is_causal", causal, bool, words)


def get_num_na_weights(kernel_size: DimensionType) -> int:
    """Number of attention weights per query."""
    return prod(kernel_size)


def check_all_args(
    na_dim: int, kernel_size: Any, dilation: Any, is_causal: Any
) -> tuple[DimensionType, DimensionType, CausalArgType]:
    """Returns kernel size, dilation and causality per axis."""
    return (
        check_kernel_size_arg(na_dim, kernel_size),
        check_dilation_arg(na_dim, dilation),
        check_causal_arg(na_dim, is_causal),
    )


@Windows
def window(na_dim: int, *arguments: Any) -> Window:
    """The window for kernel_size, dilation and is_causal."""
    return make_window(*check_all_args(na_dim, *arguments))


def _is_shape(na_dim: int, value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == na_dim
        and all(isinstance(x, int) and x > 0 for x in value)
    )


def check_tiling_config(na_dim: int, tiling_config: Any) -> tuple[Any, ...]:
    """Returns (query tile, key-value tile)."""
    if (
        isinstance(tiling_config, Sequence)
        and len(tiling_config) == 2
        and all(_is_shape(na_dim, tile) for tile in tiling_config)
    ):
        return tuple(tuple(tile) for tile in tiling_config)
    raise ValueError(
        f"Invalid tiling config for {na_dim}-D: expected two tuples of {na_dim} positive "
        f"integers, got {tiling_config}."
    )


def check_backward_tiling_config(na_dim: int, tiling_config: Any) -> tuple[Any, ...]:
    """Returns (query tile, key-value tile, key-value splits, whether torch reduces)."""
    if (
        isinstance(tiling_config, Sequence)
        and len(tiling_config) == 4
        and all(_is_shape(na_dim, shape) for shape in tiling_config[:3])
        and isinstance(tiling_config[3], bool)
    ):
        return (*(tuple(shape) for shape in tiling_config[:3]), tiling_config[3])
    raise ValueError(
        f"Invalid backward tiling config for {na_dim}-D: expected three tuples of {na_dim} "
        f"positive integers and a boolean, got {tiling_config}."
    )
