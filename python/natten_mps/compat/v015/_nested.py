# SPDX-License-Identifier: MIT
"""Split operations on nested tensors, for inference: all inputs must be nested leaves."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor

from .._common.ranked import ranked
from . import functional
from .functional import MaybeTensor


def _av(rank: int) -> Callable[..., Tensor]:
    operation = getattr(functional, f"na{rank}d_av")

    @wraps(operation)
    def av_nested(*arguments: Any, **options: Any) -> Tensor:
        out: Tensor = operation(*arguments, **options)
        return out

    av_nested.__module__ = __name__
    return av_nested


na1d_av_nested, na2d_av_nested, na3d_av_nested = ranked("na{}d_av_nested", _av)


def _qk(rank: int) -> Callable[..., Tensor]:
    operation = getattr(functional, f"na{rank}d_qk_with_bias")

    def qk_nested(
        query: Tensor, key: Tensor, rpb: MaybeTensor, kernel_size: int, dilation: int,
        additional_keys: MaybeTensor = None,
    ) -> Tensor:  # fmt: skip
        """Logits of nested samples [B, H, axes..., D]; the bias is a dense tensor or None."""
        logits: Tensor = operation(query, key, rpb, kernel_size, dilation, additional_keys)
        return logits

    return qk_nested


na1d_qk_nested, na2d_qk_nested = ranked("na{}d_qk_nested", _qk, (1, 2))


def na3d_qk_nested(
    query: Tensor, key: Tensor, rpb: MaybeTensor, kernel_size_d: int, kernel_size: int,
    dilation_d: int, dilation: int, additional_keys: MaybeTensor = None,
) -> Tensor:  # fmt: skip
    """Logits of nested samples [B, H, Z, X, Y, D]; the bias is a dense tensor or None."""
    sizes = (kernel_size_d, kernel_size, dilation_d, dilation)
    return functional.na3d_qk_with_bias(query, key, rpb, *sizes, additional_keys)
