# SPDX-License-Identifier: MIT
"""Split attention with a relative position bias, as the all-in-one music model calls it.

Tensors are heads-last, `[B, *S, H, D]`. Windows are not causal; kernel_size and dilation take one
value or one per axis. All dtypes and backends are supported, with gradients.
"""

from collections.abc import Sequence

from torch import Tensor

from ... import ops
from ...utils.params import Ints, make_window
from ...utils.window import Window
from .reference_impl import get_pb_start as get_pb_start
from .reference_impl import get_window_end as get_window_end
from .reference_impl import get_window_start as get_window_start

_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
_LAYOUTS = {1: "[B, L, H, D]", 2: "[B, Hh, Hw, H, D]", 3: "[B, Dp, Hh, Hw, H, D]"}


def _window(rank: int, kernel_size: Ints, dilation: Ints, shape: Sequence[int]) -> Window:
    window = make_window(rank, kernel_size, dilation, 1, False)
    axes = zip(_AXES[rank], window.kernel, window.dilation, shape[1:-2], strict=True)
    for axis, kernel, step, length in axes:
        if kernel * step > length:
            raise ValueError(
                f"Invalid NATTEN args on {axis}: kernel_size * dilation must be <= axis length. Got"
                f" kernel_size={kernel}, dilation={step}, {axis}={length}."
            )
    return window


def _qk_rpb(
    rank: int,
    query: Tensor,
    key: Tensor,
    rpb: Tensor | None,
    kernel_size: Ints,
    dilation: Ints,
    scale: float | None,
) -> Tensor:
    for name, tensor in (("query", query), ("key", key)):
        if tensor.dim() != rank + 3:
            raise ValueError(
                f"{name} must be {rank + 3}D {_LAYOUTS[rank]}, got shape {tuple(tensor.shape)}"
            )
    window = _window(rank, kernel_size, dilation, query.shape)
    return ops.qk(query, key, window=window, scale=scale, rpb=rpb)


def _av(rank: int, attn: Tensor, value: Tensor, kernel_size: Ints, dilation: Ints) -> Tensor:
    if attn.dim() != rank + 3 or value.dim() != rank + 3:
        raise ValueError(f"attn and value must be {rank + 3}D for na{rank}d_av_fused")
    window = _window(rank, kernel_size, dilation, value.shape)
    return ops.av(attn, value, window=window)


def na1d_qk_rpb(
    query: Tensor,
    key: Tensor,
    rpb: Tensor | None,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    scale: float | None = None,
) -> Tensor:
    """Logits `scale * q.k + rpb` `[B, L, H, K]`; rpb `[H, 2K-1]` or None, scale None is 1."""
    return _qk_rpb(1, query, key, rpb, kernel_size, dilation, scale)


def na2d_qk_rpb(
    query: Tensor,
    key: Tensor,
    rpb: Tensor | None,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    scale: float | None = None,
) -> Tensor:
    """Logits `[B, Hh, Hw, H, K*K]`; rpb `[H, 2K-1, 2K-1]` or None."""
    return _qk_rpb(2, query, key, rpb, kernel_size, dilation, scale)


def na3d_qk_rpb(
    query: Tensor,
    key: Tensor,
    rpb: Tensor | None,
    kernel_size: Ints,
    dilation: Ints = 1,
    *,
    scale: float | None = None,
) -> Tensor:
    """Logits `[B, Dp, Hh, Hw, H, K*K*K]`; rpb `[H, 2K-1, 2K-1, 2K-1]` or None."""
    return _qk_rpb(3, query, key, rpb, kernel_size, dilation, scale)


def na1d_av_fused(attn: Tensor, value: Tensor, kernel_size: Ints, dilation: Ints = 1) -> Tensor:
    """Weighted values `[B, L, H, D]` of attn `[B, L, H, K]` and value `[B, L, H, D]`."""
    return _av(1, attn, value, kernel_size, dilation)


def na2d_av_fused(attn: Tensor, value: Tensor, kernel_size: Ints, dilation: Ints = 1) -> Tensor:
    """Weighted values `[B, Hh, Hw, H, D]` of attn `[B, Hh, Hw, H, K*K]`."""
    return _av(2, attn, value, kernel_size, dilation)


def na3d_av_fused(attn: Tensor, value: Tensor, kernel_size: Ints, dilation: Ints = 1) -> Tensor:
    """Weighted values `[B, Dp, Hh, Hw, H, D]` of attn `[B, Dp, Hh, Hw, H, K*K*K]`."""
    return _av(3, attn, value, kernel_size, dilation)


def natten1dqkrpb(
    query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: Ints, dilation: Ints
) -> Tensor:
    """na1d_qk_rpb under its old name."""
    return na1d_qk_rpb(query, key, rpb, kernel_size, dilation)


def natten2dqkrpb(
    query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: Ints, dilation: Ints
) -> Tensor:
    """na2d_qk_rpb under its old name."""
    return na2d_qk_rpb(query, key, rpb, kernel_size, dilation)


def natten1dav(attention_probs: Tensor, value: Tensor, kernel_size: Ints, dilation: Ints) -> Tensor:
    """na1d_av_fused under its old name."""
    return na1d_av_fused(attention_probs, value, kernel_size, dilation)


def natten2dav(attention_probs: Tensor, value: Tensor, kernel_size: Ints, dilation: Ints) -> Tensor:
    """na2d_av_fused under its old name."""
    return na2d_av_fused(attention_probs, value, kernel_size, dilation)
