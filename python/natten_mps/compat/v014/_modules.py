# SPDX-License-Identifier: MIT
"""What the layers of both ranks have in common."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from .._common.modules import (
    SplitAttentionModule,
    check_odd_kernel,
    check_rank,
    crop,
    pad_to_window,
)


class NeighborhoodAttention(SplitAttentionModule):
    """One window size for all axes. Inputs smaller than the window are padded with zeros
    before the projection, so that padding takes part as keys equal to the qkv bias."""

    _rank: ClassVar[int]
    _qk: ClassVar[Callable[..., Tensor]]
    _av: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        dim,
        num_heads,
        kernel_size,
        dilation=1,
        bias=True,
        qkv_bias=True,
        qk_scale=None,
        attn_drop=0.0,
        proj_drop=0.0,
    ):
        super().__init__()
        dilation = 1 if dilation is None else dilation
        check_odd_kernel(kernel_size, dilation)
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.window_size = kernel_size * dilation
        rpb_shape = (2 * kernel_size - 1,) * self._rank if bias else None
        self._build(dim, num_heads, rpb_shape, qkv_bias, qk_scale, attn_drop, proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        """[B, axes..., C] to the same shape."""
        check_rank(type(self).__name__, self._rank, x)
        lengths = x.shape[1:-1]
        x = pad_to_window(x, (self.window_size,) * self._rank)
        window = (self.kernel_size, self.dilation)
        out = self._attend(
            x,
            lambda query, key: self._qk(query, key, self.rpb, *window),
            lambda attn, value: self._av(attn, value, *window),
        )
        return self._finish(crop(out, lengths))

    def _repr_fields(self) -> dict[str, Any]:
        return {
            "head_dim": self.head_dim,
            "num_heads": self.num_heads,
            "kernel_size": self.kernel_size,
            "dilation": self.dilation,
            "rel_pos_bias": self.rpb is not None,
        }

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._repr_fields().items())
