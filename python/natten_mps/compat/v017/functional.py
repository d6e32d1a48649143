# SPDX-License-Identifier: MIT
"""Neighborhood attention of NATTEN 0.17: split operations, heads first and without scaling, and
fused ones, heads last and with scaling.

`kernel_size`, `dilation` and `is_causal` take one value for all axes or one an axis. Additional
keys and values [B, H, T, D] (fused: [B, T, H, D]) are tokens that every query sees; in split
operations their T logits follow those of the window.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from natten_mps import ops

from .._common import checked, split, transposed
from . import _fused
from .types import (
    CausalArg1DTypeOrDed,
    CausalArg2DTypeOrDed,
    CausalArg3DTypeOrDed,
    Dimension1DTypeOrDed,
    Dimension2DTypeOrDed,
    Dimension3DTypeOrDed,
)
from .utils.checks import check_all_args
from .utils.log import get_logger

logger = get_logger(__name__)

FusedNeighborhoodAttention1D = _fused.FusedNeighborhoodAttention1D
FusedNeighborhoodAttention2D = _fused.FusedNeighborhoodAttention2D
FusedNeighborhoodAttention3D = _fused.FusedNeighborhoodAttention3D


def _window(rank: int, kernel_size: Any, dilation: Any, is_causal: Any) -> ops.Window:
    return split.window(*check_all_args(rank, kernel_size, dilation, is_causal))


def _qk_function(rank: int) -> Any:
    return split.qk_function(f"NeighborhoodAttention{rank}DQKAutogradFunction", __name__, _window)


def _av_function(rank: int) -> Any:
    return split.av_function(f"NeighborhoodAttention{rank}DAVAutogradFunction", __name__, _window)


NeighborhoodAttention1DQKAutogradFunction = _qk_function(1)
NeighborhoodAttention1DAVAutogradFunction = _av_function(1)
NeighborhoodAttention2DQKAutogradFunction = _qk_function(2)
NeighborhoodAttention2DAVAutogradFunction = _av_function(2)
NeighborhoodAttention3DQKAutogradFunction = _qk_function(3)
NeighborhoodAttention3DAVAutogradFunction = _av_function(3)

_FUNCTIONS = {
    1: (NeighborhoodAttention1DQKAutogradFunction, NeighborhoodAttention1DAVAutogradFunction),
    2: (NeighborhoodAttention2DQKAutogradFunction, NeighborhoodAttention2DAVAutogradFunction),
    3: (NeighborhoodAttention3DQKAutogradFunction, NeighborhoodAttention3DAVAutogradFunction),
}


def _check_kernel(kernel: Sequence[int]) -> None:
    for k in kernel:
        if k <= 1:
            raise RuntimeError(f"Kernel size must be greater than 1, got {k}.")
        if k % 2 == 0:
            raise RuntimeError(f"This operation only supports odd-sized kernel sizes, got {k}.")


def _qk(
    rank: int,
    query: Tensor,
    key: Tensor,
    arguments: tuple[Any, Any, Any],
    additional_keys: Tensor | None,
    rpb: Tensor | None,
) -> Tensor:
    window = _window(rank, *arguments)
    if rpb is not None and any(window.causal):
        raise NotImplementedError(
            "Positional biases for causal neighborhood attention is not yet implemented."
        )
    call = checked.Call(_FUNCTIONS[rank][0], arguments, window, _check_kernel)
    return checked.qk(call, query, key, rpb, additional_keys)


def _av(
    rank: int,
    attn: Tensor,
    value: Tensor,
    arguments: tuple[Any, Any, Any],
    additional_values: Tensor | None,
) -> Tensor:
    window = _window(rank, *arguments)
    call = checked.Call(_FUNCTIONS[rank][1], arguments, window, _check_kernel)
    return checked.av(call, attn, value, additional_values)


def na1d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: Dimension1DTypeOrDed,
    dilation: Dimension1DTypeOrDed = 1,
    additional_keys: Tensor | None = None,
    is_causal: CausalArg1DTypeOrDed | None = False,
    rpb: Tensor | None = None,
) -> Tensor:
    """Logits [B, H, L, K + T] of query and key [B, H, L, D]; -inf where masked."""
    arguments = (kernel_size, dilation, is_causal)
    return _qk(1, query, key, arguments, additional_keys, rpb)


def na1d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: Dimension1DTypeOrDed,
    dilation: Dimension1DTypeOrDed = 1,
    additional_values: Tensor | None = None,
    is_causal: CausalArg1DTypeOrDed | None = False,
) -> Tensor:
    """Weights [B, H, L, K + T] applied to value [B, H, L, D]: [B, H, L, D]."""
    return _av(1, attn, value, (kernel_size, dilation, is_causal), additional_values)


def na1d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Dimension1DTypeOrDed,
    dilation: Dimension1DTypeOrDed = 1,
    is_causal: CausalArg1DTypeOrDed | None = False,
    rpb: Tensor | None = None,
    scale: float | None = None,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    xformers_kwargs: dict[str, Any] | None = None,
) -> Tensor:
    """Fused attention of query, key and value [B, L, H, D]."""
    arguments = (kernel_size, dilation, is_causal)
    additional = (additional_keys, additional_values)
    return _fused.fused(1, (query, key, value), arguments, rpb, scale, additional, xformers_kwargs)


def na2d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: Dimension2DTypeOrDed,
    dilation: Dimension2DTypeOrDed = 1,
    additional_keys: Tensor | None = None,
    is_causal: CausalArg2DTypeOrDed | None = False,
    rpb: Tensor | None = None,
) -> Tensor:
    """Logits [B, H, X, Y, Kx*Ky + T] of query and key [B, H, X, Y, D]; -inf where masked."""
    arguments = (kernel_size, dilation, is_causal)
    return _qk(2, query, key, arguments, additional_keys, rpb)


def na2d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: Dimension2DTypeOrDed,
    dilation: Dimension2DTypeOrDed = 1,
    additional_values: Tensor | None = None,
    is_causal: CausalArg2DTypeOrDed | None = False,
) -> Tensor:
    """Weights [B, H, X, Y, Kx*Ky + T] applied to value [B, H, X, Y, D]: [B, H, X, Y, D]."""
    return _av(2, attn, value, (kernel_size, dilation, is_causal), additional_values)


def na2d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Dimension2DTypeOrDed,
    dilation: Dimension2DTypeOrDed = 1,
    is_causal: CausalArg2DTypeOrDed | None = False,
    rpb: Tensor | None = None,
    scale: float | None = None,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    xformers_kwargs: dict[str, Any] | None = None,
) -> Tensor:
    """Fused attention of query, key and value [B, X, Y, H, D]."""
    arguments = (kernel_size, dilation, is_causal)
    additional = (additional_keys, additional_values)
    return _fused.fused(2, (query, key, value), arguments, rpb, scale, additional, xformers_kwargs)


def na3d_qk(
    query: Tensor,
    key: Tensor,
    kernel_size: Dimension3DTypeOrDed,
    dilation: Dimension3DTypeOrDed = 1,
    additional_keys: Tensor | None = None,
    is_causal: CausalArg3DTypeOrDed | None = False,
    rpb: Tensor | None = None,
) -> Tensor:
    """Logits [B, H, Z, X, Y, Kz*Kx*Ky + T] of query and key [B, H, Z, X, Y, D], -inf if masked."""
    arguments = (kernel_size, dilation, is_causal)
    return _qk(3, query, key, arguments, additional_keys, rpb)


def na3d_av(
    attn: Tensor,
    value: Tensor,
    kernel_size: Dimension3DTypeOrDed,
    dilation: Dimension3DTypeOrDed,
    additional_values: Tensor | None = None,
    is_causal: CausalArg3DTypeOrDed | None = False,
) -> Tensor:
    """Weights [B, H, Z, X, Y, Kz*Kx*Ky + T] applied to value [B, H, Z, X, Y, D]."""
    return _av(3, attn, value, (kernel_size, dilation, is_causal), additional_values)


def na3d(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Dimension3DTypeOrDed,
    dilation: Dimension3DTypeOrDed = 1,
    is_causal: CausalArg3DTypeOrDed | None = False,
    rpb: Tensor | None = None,
    scale: float | None = None,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    xformers_kwargs: dict[str, Any] | None = None,
) -> Tensor:
    """Fused attention of query, key and value [B, Z, X, Y, H, D]."""
    arguments = (kernel_size, dilation, is_causal)
    additional = (additional_keys, additional_values)
    return _fused.fused(3, (query, key, value), arguments, rpb, scale, additional, xformers_kwargs)


def _deprecated(name: str, better: str) -> None:
    logger.warning(
        "You're calling NATTEN op `natten.functional.%s`, which is deprecated in favor of "
        "`natten.functional.%s`.",
        name,
        better,
    )


def natten1dqkrpb(
    query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: int, dilation: int
) -> Tensor:
    """Until 0.17.4: :func:`na1d_qk` with a bias."""
    _deprecated("natten1dqkrpb", "na1d_qk")
    return na1d_qk(query, key, kernel_size, dilation, rpb=rpb)


def natten1dqk(query: Tensor, key: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Until 0.17.4: :func:`na1d_qk`."""
    _deprecated("natten1dqk", "na1d_qk")
    return na1d_qk(query, key, kernel_size, dilation)


def natten1dav(attn: Tensor, value: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Until 0.17.4: :func:`na1d_av`."""
    _deprecated("natten1dav", "na1d_av")
    return na1d_av(attn, value, kernel_size, dilation)


def natten2dqkrpb(
    query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: int, dilation: int
) -> Tensor:
    """Until 0.17.4: :func:`na2d_qk` with a bias."""
    _deprecated("natten2dqkrpb", "na2d_qk")
    query, key = transposed.query_and_key(query, key, rpb)
    return na2d_qk(query, key, kernel_size, dilation, rpb=rpb)


def natten2dqk(query: Tensor, key: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Until 0.17.4: :func:`na2d_qk`."""
    _deprecated("natten2dqk", "na2d_qk")
    return na2d_qk(query, key, kernel_size, dilation)


def natten2dav(attn: Tensor, value: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Until 0.17.4: :func:`na2d_av`."""
    _deprecated("natten2dav", "na2d_av")
    value = transposed.values(attn, value)
    return na2d_av(attn, value, kernel_size, dilation)


def natten3dqkrpb(
    query: Tensor,
    key: Tensor,
    rpb: Tensor | None,
    kernel_size_d: int,
    kernel_size: int,
    dilation_d: int,
    dilation: int,
) -> Tensor:
    """Until 0.17.4: :func:`na3d_qk` with a bias."""
    _deprecated("natten3dqkrpb", "na3d_qk")
    return na3d_qk(
        query,
        key,
        (kernel_size_d, kernel_size, kernel_size),
        (dilation_d, dilation, dilation),
        rpb=rpb,
    )


def natten3dqk(
    query: Tensor, key: Tensor, kernel_size_d: int, kernel_size: int, dilation_d: int, dilation: int
) -> Tensor:
    """Until 0.17.4: :func:`na3d_qk`."""
    _deprecated("natten3dqk", "na3d_qk")
    return na3d_qk(
        query, key, (kernel_size_d, kernel_size, kernel_size), (dilation_d, dilation, dilation)
    )


def natten3dav(
    attn: Tensor,
    value: Tensor,
    kernel_size_d: int,
    kernel_size: int,
    dilation_d: int,
    dilation: int,
) -> Tensor:
    """Until 0.17.4: :func:`na3d_av`."""
    _deprecated("natten3dav", "na3d_av")
    return na3d_av(
        attn, value, (kernel_size_d, kernel_size, kernel_size), (dilation_d, dilation, dilation)
    )
