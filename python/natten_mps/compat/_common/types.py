# SPDX-License-Identifier: MIT
"""Types of arguments that take one value for all axes or one per axis, of tile shapes and of
schedules; and arithmetic on tuples."""

from enum import Enum
from typing import Any

from torch import Tensor


class KernelSchedule(Enum):
    """Schedules of upstream's kernels for Hopper GPUs."""

    NonPersistent = 0
    WarpSpecializedCooperative = 1
    WarpSpecializedPingpong = 2


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
ListOrNestedTensor = list[Tensor] | Tensor

QKTileShapeType = tuple[DimensionType, DimensionType]
FmhaForwardConfigType = tuple[int, int]
# 0.17
FnaTileShapeType = DimensionType
FnaForwardConfigType = QKTileShapeType
FnaBackwardConfigType = tuple[DimensionType, DimensionType, DimensionType, bool]
# 0.20 and later
CutlassFnaForwardConfigType = CutlassFnaBackwardConfigType = QKTileShapeType
CutlassBlackwellFnaForwardConfigType = CutlassBlackwellFnaBackwardConfigType = QKTileShapeType
CutlassHopperFnaForwardConfigType = tuple[QKTileShapeType, KernelSchedule]
CutlassHopperFnaBackwardConfigType = FlexFnaForwardConfigType = QKTileShapeType
CutlassFmhaForwardConfigType = CutlassFmhaBackwardConfigType = FmhaForwardConfigType
CutlassBlackwellFmhaForwardConfigType = FmhaForwardConfigType
CutlassBlackwellFmhaBackwardConfigType = FmhaForwardConfigType
CutlassHopperFmhaForwardConfigType = tuple[FmhaForwardConfigType, KernelSchedule]
CutlassHopperFmhaBackwardConfigType = FlexFmhaForwardConfigType = FmhaForwardConfigType


def create_dim_from_int(na_dim: int, value: int) -> tuple[int, ...]:
    """Repeats the value for each axis."""
    return _repeat(na_dim, value)


def create_causal_arg_from_bool(na_dim: int, value: bool) -> tuple[bool, ...]:
    """Repeats the value for each axis."""
    return _repeat(na_dim, value)


def _repeat(na_dim: int, value: Any) -> tuple[Any, ...]:
    if na_dim not in (1, 2, 3):
        raise ValueError(f"Only 1-D, 2-D and 3-D are supported, got {na_dim=}.")
    return (value,) * na_dim


def ceil_div_int(x: int, y: int) -> int:
    """x / y rounded up."""
    return -(-x // y)


def ceil_div_tuple(X: tuple[int, ...], Y: tuple[int, ...]) -> tuple[int, ...]:
    """Elementwise X / Y rounded up."""
    return tuple(ceil_div_int(x, y) for x, y in zip(X, Y, strict=True))


def mul_tuple(X: tuple[int, ...], Y: tuple[int, ...]) -> tuple[int, ...]:
    """Elementwise X * Y."""
    return tuple(x * y for x, y in zip(X, Y, strict=True))


def sub_tuple(X: tuple[int, ...], Y: tuple[int, ...]) -> tuple[int, ...]:
    """Elementwise X - Y."""
    return tuple(x - y for x, y in zip(X, Y, strict=True))
