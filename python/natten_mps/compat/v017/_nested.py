# SPDX-License-Identifier: MIT
"""Split operations on nested tensors, for inference: all inputs must be nested leaves."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .._common.ranked import ranked
from . import functional
from .functional import MaybeTensor


def _qk(rank: int) -> Callable[..., Tensor]:
    operation = getattr(functional, f"na{rank}d_qk")

    def qk_nested(
        query: Tensor, key: Tensor, bias: MaybeTensor, kernel_size: Any, dilation: Any,
        additional_keys: MaybeTensor = None, is_causal: Any = False,
    ) -> Tensor:  # fmt: skip
        """Logits of nested samples [B, H, axes..., D]; the bias is a dense tensor or None."""
        window = (kernel_size, dilation, additional_keys, is_causal)
        logits: Tensor = operation(query, key, *window, rpb=bias)
        return logits

    return qk_nested


def _av(rank: int) -> Callable[..., Tensor]:
    operation = getattr(functional, f"na{rank}d_av")

    def av_nested(
        attn: Tensor, value: Tensor, kernel_size: Any, dilation: Any,
        additional_values: MaybeTensor = None, is_causal: Any = False,
    ) -> Tensor:  # fmt: skip
        """Outputs of nested samples [B, H, axes..., D]."""
        out: Tensor = operation(attn, value, kernel_size, dilation, additional_values, is_causal)
        return out

    return av_nested


na1d_qk_nested, na2d_qk_nested, na3d_qk_nested = ranked("na{}d_qk_nested", _qk)
na1d_av_nested, na2d_av_nested, na3d_av_nested = ranked("na{}d_av_nested", _av)
