# SPDX-License-Identifier: MIT
"""The autograd Function classes of natten-mps 0.3.3; only `apply` is supported.

The operations themselves are differentiable, so these classes have no state and no backward.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor


def classes(
    rank: int, qk: Callable[..., Tensor], av: Callable[..., Tensor], fused: Callable[..., Any]
) -> tuple[Any, Any, Any]:
    """The classes of a rank, in the order of its public functions, which compute them."""

    def apply_qk(
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
        return qk(query, key, kernel_size, dilation, **options)

    def apply_av(
        attn: Tensor, value: Tensor, kernel_size: Any, dilation: Any, stride: Any, is_causal: Any
    ) -> Any:
        """Weighted values."""
        return av(attn, value, kernel_size, dilation, stride=stride, is_causal=is_causal)

    def apply_fused(
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
        return fused(query, key, value, kernel_size, stride, dilation, is_causal, scale)

    return (
        _class(f"NA{rank}DQKFunction", apply_qk),
        _class(f"NA{rank}DAVFunction", apply_av),
        _class(f"NeighborhoodAttention{rank}DFunction", apply_fused),
    )


def _class(name: str, apply: Callable[..., Any]) -> Any:
    module = f"{__package__}.autograd"
    body = {"apply": staticmethod(apply), "__doc__": apply.__doc__, "__module__": module}
    return type(name, (), body)
