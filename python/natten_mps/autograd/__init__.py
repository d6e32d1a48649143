# SPDX-License-Identifier: MIT
"""The nine autograd Function classes of natten-mps; only `apply` is supported.

The operations themselves are differentiable, so these classes have no state and no backward.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .. import functional


def _qk(rank: int) -> Callable[..., Any]:
    function = getattr(functional, f"na{rank}d_qk")

    def apply(
        query: Tensor,
        key: Tensor,
        kernel_size: Any,
        dilation: Any,
        stride: Any,
        is_causal: Any,
        scale: Any = None,
    ) -> Any:
        """Logits."""
        options = {"stride": stride, "is_causal": is_causal, "scale": scale}
        return function(query, key, kernel_size, dilation, **options)

    return apply


def _av(rank: int) -> Callable[..., Any]:
    function = getattr(functional, f"na{rank}d_av")

    def apply(
        attn: Tensor, value: Tensor, kernel_size: Any, dilation: Any, stride: Any, is_causal: Any
    ) -> Any:
        """Weighted values."""
        return function(attn, value, kernel_size, dilation, stride=stride, is_causal=is_causal)

    return apply


def _fused(rank: int) -> Callable[..., Any]:
    function = getattr(functional, f"na{rank}d")

    def apply(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kernel_size: Any,
        stride: Any,
        dilation: Any,
        is_causal: Any,
        scale: Any,
    ) -> Any:
        """Fused attention."""
        return function(query, key, value, kernel_size, stride, dilation, is_causal, scale)

    return apply


def _class(name: str, apply: Callable[..., Any]) -> Any:
    body = {"apply": staticmethod(apply), "__doc__": apply.__doc__, "__module__": __name__}
    return type(name, (), body)


NeighborhoodAttention1DFunction = _class("NeighborhoodAttention1DFunction", _fused(1))
NeighborhoodAttention2DFunction = _class("NeighborhoodAttention2DFunction", _fused(2))
NeighborhoodAttention3DFunction = _class("NeighborhoodAttention3DFunction", _fused(3))
NA1DQKFunction = _class("NA1DQKFunction", _qk(1))
NA2DQKFunction = _class("NA2DQKFunction", _qk(2))
NA3DQKFunction = _class("NA3DQKFunction", _qk(3))
NA1DAVFunction = _class("NA1DAVFunction", _av(1))
NA2DAVFunction = _class("NA2DAVFunction", _av(2))
NA3DAVFunction = _class("NA3DAVFunction", _av(3))

__all__ = [
    "NA1DAVFunction",
    "NA1DQKFunction",
    "NA2DAVFunction",
    "NA2DQKFunction",
    "NA3DAVFunction",
    "NA3DQKFunction",
    "NeighborhoodAttention1DFunction",
    "NeighborhoodAttention2DFunction",
    "NeighborhoodAttention3DFunction",
]
