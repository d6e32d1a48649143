# SPDX-License-Identifier: MIT
"""Layers of 0.20 and 0.21: neighborhood attention with projections before and after.

The classes for 1 to 3 axes take the arguments of the generic class without the first one. The table
of released signatures determines this.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from natten_mps._carriers import is_foreign
from natten_mps.modules import linear

from .._common.gna import arguments
from .._common.modules import module_scale
from .._common.portable import Portable
from .functional import neighborhood_attention_generic


class NeighborhoodAttentionGeneric(Portable, nn.Module):
    """Neighborhood attention over [B, axes..., C]."""

    _rank: ClassVar[int | None] = None

    def __init__(
        self,
        na_dim: int,
        embed_dim: int,
        num_heads: int,
        kernel_size: Any,
        stride: Any = 1,
        dilation: Any = 1,
        is_causal: Any = False,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(
                "Number of attention heads must evenly divide embedding dimension, got "
                f"{embed_dim=}, {num_heads=}."
            )
        self.na_dim = na_dim if self._rank is None else self._rank
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.scale = module_scale(qk_scale, self.head_dim)
        self.kernel_size, self.stride, self.dilation, self.is_causal = arguments.check_all_args(
            self.na_dim, kernel_size, stride, dilation, is_causal
        )
        self.expected_input_tensor_rank = self.na_dim + 2
        self.qkv = nn.Linear(embed_dim, embed_dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Adds attributes that a layer pickled by 0.20.0 lacks."""
        super().__setstate__(state)
        self.__dict__.setdefault("embed_dim", self.qkv.in_features)
        self.__dict__.setdefault("expected_input_tensor_rank", self.na_dim + 2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, axes..., C] to the same shape."""
        if not is_foreign(x):
            self._check(x)
        heads = torch.unflatten(linear(self.qkv, x), -1, (3, self.num_heads, self.head_dim))
        query, key, value = heads.unbind(-3)
        out: Any = neighborhood_attention_generic(
            query,
            key,
            value,
            self.kernel_size,
            self.stride,
            self.dilation,
            self.is_causal,
            self.scale,
        )
        result: Tensor = self.proj_drop(linear(self.proj, out.flatten(-2)))
        return result

    def _check(self, x: Tensor) -> None:
        if x.dim() != self.expected_input_tensor_rank:
            raise ValueError(
                f"{type(self).__name__} expected a tensor with rank "
                f"{self.expected_input_tensor_rank} ({self.na_dim} for token layout, 1 for "
                f"batch, 1 for embedding dimension), got {x.dim()=}."
            )
        if x.shape[-1] != self.embed_dim:
            raise ValueError(
                f"Expected embedding dimension {self.embed_dim}, got {x.shape[-1]} ({x.shape=})."
            )

    def extra_repr(self) -> str:
        """Extra text for printing a model."""
        names = ("head_dim", "num_heads", "kernel_size", "stride", "dilation", "is_causal")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class NeighborhoodAttention1D(NeighborhoodAttentionGeneric):
    """Neighborhood attention over [B, L, C]."""

    _rank = 1


class NeighborhoodAttention2D(NeighborhoodAttentionGeneric):
    """Neighborhood attention over [B, X, Y, C]."""

    _rank = 2


class NeighborhoodAttention3D(NeighborhoodAttentionGeneric):
    """Neighborhood attention over [B, Z, X, Y, C]."""

    _rank = 3
