# SPDX-License-Identifier: MIT
"""The layers of 0.20 and 0.21."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..modules import default_scale
from . import arguments


class NeighborhoodAttentionModule(nn.Module):
    """Neighborhood attention over [B, axes..., C] with projections before and after."""

    _attention: ClassVar[Callable[..., Any]]

    def _build(
        self,
        na_dim: int,
        embed_dim: int,
        num_heads: int,
        where: tuple[Any, Any, Any, Any],
        qkv_bias: bool,
        qk_scale: float | None,
        proj_drop: float,
    ) -> None:
        if embed_dim % num_heads:
            raise ValueError(
                "Number of attention heads must evenly divide embedding dimension, got "
                f"{embed_dim=}, {num_heads=}."
            )
        self.na_dim = na_dim
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.scale = default_scale(qk_scale, self.head_dim)
        self.kernel_size, self.stride, self.dilation, self.is_causal = arguments.check_all_args(
            na_dim, *where
        )
        self.expected_input_tensor_rank = na_dim + 2
        self.qkv = nn.Linear(embed_dim, embed_dim * 3, bias=qkv_bias)
        self.proj = nn.Linear(embed_dim, embed_dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        """[B, axes..., C] to the same shape."""
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
        heads = torch.unflatten(self.qkv(x), -1, (3, self.num_heads, self.head_dim))
        query, key, value = heads.unbind(-3)
        out = type(self)._attention(
            query,
            key,
            value,
            kernel_size=self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            is_causal=self.is_causal,
            scale=self.scale,
        )
        result: Tensor = self.proj_drop(self.proj(out.flatten(-2)))
        return result

    def extra_repr(self) -> str:
        """Part of what printing a model shows."""
        names = ("head_dim", "num_heads", "kernel_size", "stride", "dilation", "is_causal")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)
