# SPDX-License-Identifier: MIT
"""The nine Function classes of natten-mps, whose `apply` is all that anyone calls.

Gradients come with the operations themselves, so that these hold no state and no backward.
"""

from typing import Any

from torch import Tensor

from ..functional import _av, _fused, _qk


class _Fused:
    rank: int

    @classmethod
    def apply(
        cls,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kernel_size: Any,
        stride: Any,
        dilation: Any,
        is_causal: Any,
        scale: float | None,
    ) -> Tensor:
        """Fused attention."""
        out = _fused(
            cls.rank,
            query,
            key,
            value,
            kernel_size,
            stride,
            dilation,
            is_causal,
            scale,
            False,
            None,
            None,
            None,
        )
        assert isinstance(out, Tensor)
        return out


class _QK:
    rank: int

    @classmethod
    def apply(
        cls,
        query: Tensor,
        key: Tensor,
        kernel_size: Any,
        dilation: Any,
        stride: Any,
        is_causal: Any,
        scale: float | None = None,
    ) -> Tensor:
        """Logits."""
        return _qk(
            cls.rank, query, key, kernel_size, dilation, stride, is_causal, scale, None, None
        )


class _AV:
    rank: int

    @classmethod
    def apply(
        cls,
        attn: Tensor,
        value: Tensor,
        kernel_size: Any,
        dilation: Any,
        stride: Any,
        is_causal: Any,
    ) -> Tensor:
        """Weighted values."""
        return _av(cls.rank, attn, value, kernel_size, dilation, stride, is_causal, None)


class NeighborhoodAttention1DFunction(_Fused):
    """Fused 1-D attention."""

    rank = 1


class NeighborhoodAttention2DFunction(_Fused):
    """Fused 2-D attention."""

    rank = 2


class NeighborhoodAttention3DFunction(_Fused):
    """Fused 3-D attention."""

    rank = 3


class NA1DQKFunction(_QK):
    """Logits of 1-D attention."""

    rank = 1


class NA2DQKFunction(_QK):
    """Logits of 2-D attention."""

    rank = 2


class NA3DQKFunction(_QK):
    """Logits of 3-D attention."""

    rank = 3


class NA1DAVFunction(_AV):
    """Weighted values of 1-D attention."""

    rank = 1


class NA2DAVFunction(_AV):
    """Weighted values of 2-D attention."""

    rank = 2


class NA3DAVFunction(_AV):
    """Weighted values of 3-D attention."""

    rank = 3


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
