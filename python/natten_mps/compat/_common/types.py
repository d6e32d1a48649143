# SPDX-License-Identifier: MIT
"""Types of the arguments that take one value for all axes or one an axis."""

from typing import Any

Dimension1DType = tuple[int]
Dimension2DType = tuple[int, int]
Dimension3DType = tuple[int, int, int]
Dimension1DTypeOrDed = int | Dimension1DType
Dimension2DTypeOrDed = int | Dimension2DType
Dimension3DTypeOrDed = int | Dimension3DType
DimensionType = Dimension1DType | Dimension2DType | Dimension3DType
DimensionTypeOrDed = int | DimensionType

CausalArg1DType = tuple[bool]
CausalArg2DType = tuple[bool, bool]
CausalArg3DType = tuple[bool, bool, bool]
CausalArg1DTypeOrDed = bool | CausalArg1DType
CausalArg2DTypeOrDed = bool | CausalArg2DType
CausalArg3DTypeOrDed = bool | CausalArg3DType
CausalArgType = CausalArg1DType | CausalArg2DType | CausalArg3DType
CausalArgTypeOrDed = bool | CausalArgType

NoneType = type(None)


def create_dim_from_int(na_dim: int, value: int) -> tuple[int, ...]:
    """The value for each axis."""
    return _repeat(na_dim, value)


def create_causal_arg_from_bool(na_dim: int, value: bool) -> tuple[bool, ...]:
    """The value for each axis."""
    return _repeat(na_dim, value)


def _repeat(na_dim: int, value: Any) -> tuple[Any, ...]:
    if na_dim not in (1, 2, 3):
        raise ValueError(f"Only 1-D, 2-D and 3-D are supported, got {na_dim=}.")
    return (value,) * na_dim
