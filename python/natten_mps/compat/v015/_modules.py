# SPDX-License-Identifier: MIT
"""The layers of 0.15, with a relative position bias."""

from typing import Any

from .._common.padded import PaddedModule, UniformModule, check_window
from .functional import (
    na1d_av,
    na1d_qk_with_bias,
    na2d_av,
    na2d_qk_with_bias,
    na3d_av,
    na3d_qk_with_bias,
)


class NeighborhoodAttention1D(UniformModule):
    """Neighborhood attention over [B, L, C]."""

    _rank, _bias_name = 1, "has_bias"
    _qk, _av = staticmethod(na1d_qk_with_bias), staticmethod(na1d_av)


class NeighborhoodAttention2D(UniformModule):
    """Neighborhood attention over [B, H, W, C]."""

    _rank, _bias_name = 2, "has_bias"
    _qk, _av = staticmethod(na2d_qk_with_bias), staticmethod(na2d_av)


class NeighborhoodAttention3D(PaddedModule):
    """Neighborhood attention over [B, D, H, W, C]; depth has its own kernel size and dilation."""

    _rank, _bias_name = 3, "has_bias"
    _qk, _av = staticmethod(na3d_qk_with_bias), staticmethod(na3d_av)

    def __init__(
        self,
        dim: int,
        num_heads: int,
        kernel_size: int,
        kernel_size_d: int | None = None,
        dilation: int | None = 1,
        dilation_d: int | None = None,
        bias: bool = True,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        dilation = 1 if dilation is None else dilation
        dilation_d = dilation if dilation_d is None else dilation_d
        kernel_size_d = kernel_size if kernel_size_d is None else kernel_size_d
        check_window(kernel_size, dilation)
        check_window(kernel_size_d, dilation_d)
        self.kernel_size = kernel_size
        self.kernel_size_d = kernel_size_d
        self.dilation = dilation
        self.dilation_d = dilation_d
        self.window_size = kernel_size * dilation
        self.window_size_d = kernel_size_d * dilation_d
        kernel = (kernel_size_d, kernel_size, kernel_size)
        rpb_shape = tuple(2 * k - 1 for k in kernel) if bias else None
        self._build(dim, num_heads, rpb_shape, qkv_bias, qk_scale, attn_drop, proj_drop)

    def _windows(self) -> tuple[int, ...]:
        return self.window_size_d, self.window_size, self.window_size

    def _arguments(self) -> tuple[int, ...]:
        return self.kernel_size_d, self.kernel_size, self.dilation_d, self.dilation

    def _repr_fields(self) -> dict[str, Any]:
        depth = {"kernel_size_d": self.kernel_size_d, "dilation_d": self.dilation_d}
        return super()._repr_fields() | depth
