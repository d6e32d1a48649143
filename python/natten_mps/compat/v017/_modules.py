# SPDX-License-Identifier: MIT
"""The layers of 0.17."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from .._common.modules import SplitAttentionModule, check_rank
from . import functional
from ._checks import check_all_args
from .context import is_fna_enabled


class NeighborhoodAttention(SplitAttentionModule):
    """Takes kernel size, dilation and causality for all axes or one per axis; does not pad."""

    _qk: ClassVar[Callable[..., Tensor]]
    _av: ClassVar[Callable[..., Tensor]]
    _fused: ClassVar[Callable[..., Tensor]]

    # Layers pickled by a release before 0.17.4 do not have this attribute.
    use_experimental_ops = False

    def __init__(
        self,
        dim: int,
        num_heads: int,
        kernel_size: Any,
        dilation: Any = 1,
        is_causal: Any = False,
        rel_pos_bias: bool = False,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        use_experimental_ops: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.is_causal = check_all_args(
            self._rank, kernel_size, dilation, is_causal
        )
        if rel_pos_bias and any(self.is_causal):
            raise NotImplementedError(
                "Causal neighborhood attention is undefined with positional biases."
            )
        self.attn_drop_rate = attn_drop
        self.use_experimental_ops = use_experimental_ops
        rpb_shape = tuple(2 * k - 1 for k in self.kernel_size) if rel_pos_bias else None
        self._build(dim, num_heads, rpb_shape, qkv_bias, qk_scale, attn_drop, proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, axes..., C] to the same shape."""
        check_rank(type(self).__name__, self._rank, x)
        window = {
            "kernel_size": self.kernel_size,
            "dilation": self.dilation,
            "is_causal": self.is_causal,
        }
        dropping = self.training and self.attn_drop_rate > 0
        if is_fna_enabled() and not dropping:
            query, key, value = self._project(x)
            scale = self.scale
            return self._finish(self._fused(query, key, value, **window, rpb=self.rpb, scale=scale))
        if self.use_experimental_ops and not is_fna_enabled():
            raise NotImplementedError(
                "Only fused neighborhood attention has experimental ops; "
                "call natten.use_fused_na() or leave use_experimental_ops out."
            )
        return self._finish(
            self._attend(
                x,
                lambda query, key: self._qk(query, key, **window, rpb=self.rpb),
                lambda attn, value: self._av(attn, value, **window),
            )
        )

    def _repr_fields(self) -> dict[str, Any]:
        return {
            "head_dim": self.head_dim,
            "num_heads": self.num_heads,
            "kernel_size": self.kernel_size,
            "dilation": self.dilation,
            "is_causal": self.is_causal,
            "has_bias": self.rpb is not None,
        }


class NeighborhoodAttention1D(NeighborhoodAttention):
    """Neighborhood attention over [B, L, C]."""

    _rank = 1
    _qk, _av = staticmethod(functional.na1d_qk), staticmethod(functional.na1d_av)
    _fused = staticmethod(functional.na1d)


class NeighborhoodAttention2D(NeighborhoodAttention):
    """Neighborhood attention over [B, H, W, C]."""

    _rank = 2
    _qk, _av = staticmethod(functional.na2d_qk), staticmethod(functional.na2d_av)
    _fused = staticmethod(functional.na2d)


class NeighborhoodAttention3D(NeighborhoodAttention):
    """Neighborhood attention over [B, D, H, W, C]."""

    _rank = 3
    _qk, _av = staticmethod(functional.na3d_qk), staticmethod(functional.na3d_av)
    _fused = staticmethod(functional.na3d)
