# SPDX-License-Identifier: MIT
"""Neighborhood attention of NATTEN 0.17: split operations, heads first and without scaling, and
fused ones, heads last and with scaling.

`kernel_size`, `dilation` and `is_causal` take one value for all axes or one per axis. Additional
keys and values [B, H, T, D] (fused: [B, T, H, D]) are tokens that every query sees; in split
operations their T logits follow those of the window.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from natten_mps._carriers import guard

from .. import _served
from .._common import checked, split, transposed
from .._common.log import get_logger
from .._common.ranked import RANKS, ranked
from . import _fused
from ._checks import window as checked_window

MaybeTensor = Tensor | None

logger = get_logger("natten.functional")


def _qk_function(rank: int) -> Any:
    def compute(
        query: Tensor, key: Tensor, bias: MaybeTensor, additional_key: MaybeTensor,
        kernel_size: Any, dilation: Any, is_causal: Any,
    ) -> Tensor:  # fmt: skip
        window = checked_window(rank, kernel_size, dilation, is_causal)
        return split.qk(query, key, bias, additional_key, window)

    name = f"NeighborhoodAttention{rank}DQKAutogradFunction"
    return split.named_function(name, __name__, compute)


def _av_function(rank: int) -> Any:
    def compute(
        attn: Tensor, value: Tensor, additional_value: MaybeTensor,
        kernel_size: Any, dilation: Any, is_causal: Any,
    ) -> Tensor:  # fmt: skip
        window = checked_window(rank, kernel_size, dilation, is_causal)
        return split.av(attn, value, additional_value, window)

    name = f"NeighborhoodAttention{rank}DAVAutogradFunction"
    return split.named_function(name, __name__, compute)


_QK = {rank: _qk_function(rank) for rank in RANKS}
_AV = {rank: _av_function(rank) for rank in RANKS}
NeighborhoodAttention1DQKAutogradFunction = _QK[1]
NeighborhoodAttention2DQKAutogradFunction = _QK[2]
NeighborhoodAttention3DQKAutogradFunction = _QK[3]
NeighborhoodAttention1DAVAutogradFunction = _AV[1]
NeighborhoodAttention2DAVAutogradFunction = _AV[2]
NeighborhoodAttention3DAVAutogradFunction = _AV[3]
FusedNeighborhoodAttention1D = _fused.FUNCTIONS[1]
FusedNeighborhoodAttention2D = _fused.FUNCTIONS[2]
FusedNeighborhoodAttention3D = _fused.FUNCTIONS[3]


def _check_kernel(kernel: Sequence[int]) -> None:
    for k in kernel:
        if k <= 1:
            raise RuntimeError(f"Kernel size must be greater than 1, got {k}.")
        if k % 2 == 0:
            raise RuntimeError(f"This operation only supports odd-sized kernel sizes, got {k}.")


def _call(functions: dict[int, Any], rank: int, *arguments: Any) -> checked.Call:
    window = checked_window(rank, *arguments)
    return checked.Call(functions[rank], arguments, window, _check_kernel)


def _qk(rank: int) -> Callable[..., Tensor]:
    def qk(
        query: Tensor, key: Tensor, kernel_size: Any, dilation: Any = 1,
        additional_keys: MaybeTensor = None, is_causal: Any = False, rpb: MaybeTensor = None,
    ) -> Tensor:  # fmt: skip
        """Logits [B, H, axes..., W + T] of query and key [B, H, axes..., D], for W positions in the
        window; -inf where masked. The bias is [H, 2K-1, ...]."""
        call = _call(_QK, rank, kernel_size, dilation, is_causal)
        _fused.check_causal_bias(call.window, rpb)
        return checked.qk(call, query, key, rpb, additional_keys)

    return qk


def _av(rank: int) -> Callable[..., Tensor]:
    def av(
        attn: Tensor, value: Tensor, kernel_size: Any, dilation: Any = 1,
        additional_values: MaybeTensor = None, is_causal: Any = False,
    ) -> Tensor:  # fmt: skip
        """Weights [B, H, axes..., W + T] applied to value: [B, H, axes..., D], like value."""
        call = _call(_AV, rank, kernel_size, dilation, is_causal)
        return checked.av(call, attn, value, additional_values)

    if rank == 3:
        av.__defaults__ = (None, False)  # upstream has no default for dilation with three axes
    return av


def _na(rank: int) -> Callable[..., Tensor]:
    def na(
        query: Tensor, key: Tensor, value: Tensor, kernel_size: Any, dilation: Any = 1,
        is_causal: Any = False, rpb: MaybeTensor = None, scale: float | None = None,
        additional_keys: MaybeTensor = None, additional_values: MaybeTensor = None,
        xformers_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:  # fmt: skip
        """Fused attention of query, key and value [B, axes..., H, D]."""
        window = checked_window(rank, kernel_size, dilation, is_causal)
        additional = (additional_keys, additional_values)
        return _fused.fused(window, (query, key, value), rpb, scale, additional, xformers_kwargs)

    return na


na1d_qk, na2d_qk, na3d_qk = ranked("na{}d_qk", _qk)
na1d_av, na2d_av, na3d_av = ranked("na{}d_av", _av)
na1d, na2d, na3d = ranked("na{}d", _na)
_SPLIT = {1: (na1d_qk, na1d_av), 2: (na2d_qk, na2d_av), 3: (na3d_qk, na3d_av)}


def _deprecated(rank: int, old: str, new: str) -> None:
    logger.warning(
        "You're calling NATTEN op `natten.functional.natten%dd%s`, which is deprecated in favor "
        "of `natten.functional.na%dd_%s`.",
        rank,
        old,
        rank,
        new,
    )


def _old_qkrpb(rank: int) -> Callable[..., Tensor]:
    def planar(
        query: Tensor, key: Tensor, rpb: MaybeTensor, kernel_size: Any, dilation: Any
    ) -> Tensor:
        """Until 0.17.4: logits with a bias."""
        _deprecated(rank, "qkrpb", "qk")
        if rank == 2:
            query, key = transposed.query_and_key(query, key, rpb)
        logits: Tensor = _SPLIT[rank][0](query, key, kernel_size, dilation, rpb=rpb)
        return logits

    def deep(
        query: Tensor, key: Tensor, rpb: MaybeTensor, kernel_size_d: int, kernel_size: int,
        dilation_d: int, dilation: int,
    ) -> Tensor:  # fmt: skip
        """Until 0.17.4: logits with a bias."""
        kernel, dilations = (kernel_size_d, *(kernel_size,) * 2), (dilation_d, *(dilation,) * 2)
        return planar(query, key, rpb, kernel, dilations)

    return deep if rank == 3 else planar


def _old_qk(rank: int) -> Callable[..., Tensor]:
    def planar(query: Tensor, key: Tensor, kernel_size: Any, dilation: Any) -> Tensor:
        """Until 0.17.4: logits."""
        _deprecated(rank, "qk", "qk")
        logits: Tensor = _SPLIT[rank][0](query, key, kernel_size, dilation)
        return logits

    def deep(
        query: Tensor, key: Tensor, kernel_size_d: int, kernel_size: int, dilation_d: int,
        dilation: int,
    ) -> Tensor:  # fmt: skip
        """Until 0.17.4: logits."""
        kernel, dilations = (kernel_size_d, *(kernel_size,) * 2), (dilation_d, *(dilation,) * 2)
        return planar(query, key, kernel, dilations)

    return deep if rank == 3 else planar


def _old_av(rank: int) -> Callable[..., Tensor]:
    def planar(attn: Tensor, value: Tensor, kernel_size: Any, dilation: Any) -> Tensor:
        """Until 0.17.4: weighted values."""
        _deprecated(rank, "av", "av")
        if rank == 2:
            value = transposed.values(attn, value)
        out: Tensor = _SPLIT[rank][1](attn, value, kernel_size, dilation)
        return out

    def deep(
        attn: Tensor, value: Tensor, kernel_size_d: int, kernel_size: int, dilation_d: int,
        dilation: int,
    ) -> Tensor:  # fmt: skip
        """Until 0.17.4: weighted values."""
        kernel, dilations = (kernel_size_d, *(kernel_size,) * 2), (dilation_d, *(dilation,) * 2)
        return planar(attn, value, kernel, dilations)

    return deep if rank == 3 else planar


natten1dqkrpb, natten2dqkrpb, natten3dqkrpb = ranked("natten{}dqkrpb", _old_qkrpb)
natten1dqk, natten2dqk, natten3dqk = ranked("natten{}dqk", _old_qk)
natten1dav, natten2dav, natten3dav = ranked("natten{}dav", _old_av)

guard(globals())
_served.fill(_served.literal("v017"), "natten.functional", globals())
