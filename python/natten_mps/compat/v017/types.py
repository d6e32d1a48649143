# SPDX-License-Identifier: MIT
"""Names of argument types."""

from torch import Tensor

from .._common import types as _types

NoneType = _types.NoneType
Dimension1DType = _types.Dimension1DType
Dimension2DType = _types.Dimension2DType
Dimension3DType = _types.Dimension3DType
Dimension1DTypeOrDed = _types.Dimension1DTypeOrDed
Dimension2DTypeOrDed = _types.Dimension2DTypeOrDed
Dimension3DTypeOrDed = _types.Dimension3DTypeOrDed
DimensionType = _types.DimensionType
CausalArg1DType = _types.CausalArg1DType
CausalArg2DType = _types.CausalArg2DType
CausalArg3DType = _types.CausalArg3DType
CausalArg1DTypeOrDed = _types.CausalArg1DTypeOrDed
CausalArg2DTypeOrDed = _types.CausalArg2DTypeOrDed
CausalArg3DTypeOrDed = _types.CausalArg3DTypeOrDed
CausalArgType = _types.CausalArgType
create_dim_from_int = _types.create_dim_from_int
create_causal_arg_from_bool = _types.create_causal_arg_from_bool

FnaTileShapeType = DimensionType
FnaForwardConfigType = tuple[DimensionType, DimensionType]
FnaBackwardConfigType = tuple[DimensionType, DimensionType, DimensionType, bool]
ListOrNestedTensor = list[Tensor] | Tensor
