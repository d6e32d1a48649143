# SPDX-License-Identifier: MIT
"""Names of argument types."""

from .._common import types as _types
from .._common.gna.arguments import KernelSchedule as KernelSchedule

NoneType = _types.NoneType
Dimension1DType = _types.Dimension1DType
Dimension2DType = _types.Dimension2DType
Dimension3DType = _types.Dimension3DType
CausalArg1DType = _types.CausalArg1DType
CausalArg2DType = _types.CausalArg2DType
CausalArg3DType = _types.CausalArg3DType
Dimension1DTypeOrDed = _types.Dimension1DTypeOrDed
Dimension2DTypeOrDed = _types.Dimension2DTypeOrDed
Dimension3DTypeOrDed = _types.Dimension3DTypeOrDed
CausalArg1DTypeOrDed = _types.CausalArg1DTypeOrDed
CausalArg2DTypeOrDed = _types.CausalArg2DTypeOrDed
CausalArg3DTypeOrDed = _types.CausalArg3DTypeOrDed
DimensionType = _types.DimensionType
CausalArgType = _types.CausalArgType
DimensionTypeOrDed = _types.DimensionTypeOrDed
CausalArgTypeOrDed = _types.CausalArgTypeOrDed

QKTileShapeType = tuple[DimensionType, DimensionType]
CutlassFnaForwardConfigType = QKTileShapeType
CutlassFnaBackwardConfigType = QKTileShapeType
CutlassBlackwellFnaForwardConfigType = QKTileShapeType
CutlassBlackwellFnaBackwardConfigType = QKTileShapeType
CutlassHopperFnaForwardConfigType = tuple[QKTileShapeType, KernelSchedule]
CutlassHopperFnaBackwardConfigType = QKTileShapeType
FlexFnaForwardConfigType = QKTileShapeType
FmhaForwardConfigType = tuple[int, int]
CutlassFmhaForwardConfigType = FmhaForwardConfigType
CutlassFmhaBackwardConfigType = FmhaForwardConfigType
FlexFmhaForwardConfigType = FmhaForwardConfigType
CutlassBlackwellFmhaForwardConfigType = FmhaForwardConfigType
CutlassBlackwellFmhaBackwardConfigType = FmhaForwardConfigType
CutlassHopperFmhaForwardConfigType = tuple[FmhaForwardConfigType, KernelSchedule]
CutlassHopperFmhaBackwardConfigType = FmhaForwardConfigType
