# SPDX-License-Identifier: MIT
"""The layers of the generations up to 0.17, which share their parameters and dropout."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from natten_mps._carriers import is_foreign
from natten_mps.modules import linear

from .portable import Portable

Split = Callable[[Tensor, Tensor], Tensor]


def default_scale(scale: Any) -> Any:
    """The scale of a fused operation; None for the default, which 0 selects as well. A tensor is
    used as it is, whatever its value."""
    return scale if isinstance(scale, Tensor) else scale or None


def module_scale(scale: Any, head_dim: int) -> Any:
    """The scale of a layer."""
    scale = default_scale(scale)
    return head_dim**-0.5 if scale is None else scale


def check_rank(name: str, rank: int, x: Tensor) -> None:
    """Raises ValueError unless x is [batch, axes..., channels] with `rank` axes."""
    if not is_foreign(x) and x.dim() != rank + 2:
        raise ValueError(f"{name} expected a rank-{rank + 2} input tensor; got x.dim()={x.dim()}.")


class SplitAttentionModule(Portable, nn.Module):
    """Projections, relative position bias and dropout around the split operations."""

    _rank: ClassVar[int]
    rpb: nn.Parameter | None

    def _build(
        self,
        dim: int,
        num_heads: int,
        rpb_shape: tuple[int, ...] | None,
        qkv_bias: bool,
        qk_scale: float | None,
        attn_drop: float,
        proj_drop: float,
    ) -> None:
        """Creates submodules and parameters in upstream's order: a seed gives the same weights."""
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.scale = module_scale(qk_scale, self.head_dim)
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        if rpb_shape is None:
            self.register_parameter("rpb", None)
        else:
            self.rpb = nn.Parameter(torch.zeros(num_heads, *rpb_shape))
            nn.init.trunc_normal_(self.rpb, std=0.02, mean=0.0, a=-2.0, b=2.0)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value [batch, axes..., heads, head_dim] as views of one tensor."""
        heads = torch.unflatten(linear(self.qkv, x), -1, (3, self.num_heads, self.head_dim))
        query, key, value = heads.unbind(-3)  # in a form that torch.fx can unpack
        return query, key, value

    def _finish(self, out: Tensor) -> Tensor:
        """Maps [batch, axes..., heads, head_dim] to the module's output."""
        result: Tensor = self.proj_drop(linear(self.proj, out.flatten(-2)))
        return result

    def _attend(self, x: Tensor, qk: Split, av: Split) -> Tensor:
        last = self._rank + 1  # counted from the front, because an exporter may not know the rank
        query, key, value = (t.movedim(last, 1) for t in self._project(x))
        attn = self.attn_drop(qk(query * self.scale, key).softmax(dim=-1))
        return av(attn, value).movedim(1, last)

    def _repr_fields(self) -> dict[str, Any]:
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Extra text for printing a model."""
        return ", ".join(f"{name}={value}" for name, value in self._repr_fields().items())
