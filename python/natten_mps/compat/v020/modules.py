# SPDX-License-Identifier: MIT
"""Layers: neighborhood attention with projections before and after."""

from .._common.gna.modules import NeighborhoodAttentionModule
from .functional import neighborhood_attention_generic
from .types import (
    CausalArg1DTypeOrDed,
    CausalArg2DTypeOrDed,
    CausalArg3DTypeOrDed,
    CausalArgTypeOrDed,
    Dimension1DTypeOrDed,
    Dimension2DTypeOrDed,
    Dimension3DTypeOrDed,
    DimensionTypeOrDed,
)


class NeighborhoodAttentionGeneric(NeighborhoodAttentionModule):
    """Neighborhood attention over [B, axes..., C]."""

    _attention = staticmethod(neighborhood_attention_generic)

    def __init__(
        self,
        na_dim: int,
        embed_dim: int,
        num_heads: int,
        kernel_size: DimensionTypeOrDed,
        stride: DimensionTypeOrDed = 1,
        dilation: DimensionTypeOrDed = 1,
        is_causal: CausalArgTypeOrDed = False,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        where = (kernel_size, stride, dilation, is_causal)
        self._build(na_dim, embed_dim, num_heads, where, qkv_bias, qk_scale, proj_drop)


class NeighborhoodAttention1D(NeighborhoodAttentionGeneric):
    """Neighborhood attention over [B, L, C]."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        kernel_size: Dimension1DTypeOrDed,
        stride: Dimension1DTypeOrDed = 1,
        dilation: Dimension1DTypeOrDed = 1,
        is_causal: CausalArg1DTypeOrDed = False,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(
            1,
            embed_dim,
            num_heads,
            kernel_size,
            stride,
            dilation,
            is_causal,
            qkv_bias,
            qk_scale,
            proj_drop,
        )


class NeighborhoodAttention2D(NeighborhoodAttentionGeneric):
    """Neighborhood attention over [B, X, Y, C]."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        kernel_size: Dimension2DTypeOrDed,
        stride: Dimension2DTypeOrDed = 1,
        dilation: Dimension2DTypeOrDed = 1,
        is_causal: CausalArg2DTypeOrDed = False,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(
            2,
            embed_dim,
            num_heads,
            kernel_size,
            stride,
            dilation,
            is_causal,
            qkv_bias,
            qk_scale,
            proj_drop,
        )


class NeighborhoodAttention3D(NeighborhoodAttentionGeneric):
    """Neighborhood attention over [B, Z, X, Y, C]."""

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        kernel_size: Dimension3DTypeOrDed,
        stride: Dimension3DTypeOrDed = 1,
        dilation: Dimension3DTypeOrDed = 1,
        is_causal: CausalArg3DTypeOrDed = False,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__(
            3,
            embed_dim,
            num_heads,
            kernel_size,
            stride,
            dilation,
            is_causal,
            qkv_bias,
            qk_scale,
            proj_drop,
        )
