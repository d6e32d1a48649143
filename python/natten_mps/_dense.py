# SPDX-License-Identifier: MIT
"""Fused attention of a few tokens, for compilers: every query with every key, then a mask.

A compiler makes one or two loops of it, which cost less than the call of an operation does. It has
no gathers, whose gradients a compiled program would add up in no fixed order.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .pure import softmax, to_heads_first, to_heads_last, up, window_start
from .utils.window import Window

#: Multiply-adds of all queries with all keys and values up to which this is worth while: on two
#: cores it then takes 25 to 50 us less than the call of an operation, with gradients 100 us.
MOST = 65536
#: Compilers up to torch 2.10 cannot trace the question whether a size is known, so that there the
#: comparison itself becomes a condition of the compiled program.
_ASKS = tuple(int(part) for part in torch.__version__.split(".")[:2]) > (2, 10)


def takes(inputs: Sequence[Any], window: Window, scale: float | None, heads_first: bool) -> bool:
    """Whether `attn` below shall compute a problem: valid queries, keys and values of one shape and
    nothing else, and so few tokens, of sizes that are known, that a call costs more than the work.

    Each function and constant that this reads is looked at again before every compiled call.
    """
    query, key, value, *others = inputs
    kernels, dilations, strides, steps, *_ = window
    shape, dtype = query.shape, query.dtype
    lengths = shape[2:-1] if heads_first else shape[1:-2]
    work = 2 * shape.numel() * math.prod(lengths)
    small: Any = work <= MOST
    if _ASKS:
        from torch.fx.experimental.symbolic_shapes import statically_known_true  # imports sympy

        small = statically_known_true(small)
    if not small:  # apart, because the compiler of torch 2.6 makes no bool of a symbol
        return False
    return bool(
        window.ranges is None
        and not any(t is not None for t in others)
        and query.device.type == key.device.type == value.device.type == "cpu"
        and dtype == key.dtype == value.dtype
        and dtype.is_floating_point
        and dtype.itemsize >= 2
        and shape == key.shape == value.shape
        and len(lengths) == len(window.kernel)
        and (scale is None or abs(scale) < math.inf)
        and all(
            1 <= stride <= kernel and dilation >= 1 and step >= 1 and kernel * dilation <= length
            for kernel, dilation, stride, step, length in zip(
                kernels, dilations, strides, steps, lengths, strict=True
            )
        )
    )


def _axis_mask(window: Window, axis: int, length: int, device: torch.device) -> Tensor:
    """[queries, keys] along one axis: which keys a query sees."""
    dilation = window.dilation[axis]
    query = torch.arange(0, length, window.query_step[axis], device=device)[:, None]
    key = torch.arange(length, device=device)
    residue, position = query % dilation, query // dilation
    group = (length - residue + dilation - 1) // dilation
    start = window_start(window, axis, position, group)
    last = position if window.causal[axis] else start + window.kernel[axis] - 1
    near = key // dilation
    return (key % dilation == residue) & (near >= start) & (near <= last)


def _mask(window: Window, lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """[queries, keys], both flat."""
    rank, total = len(lengths), None
    for axis, length in enumerate(lengths):
        mask = _axis_mask(window, axis, length, device)
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = mask.shape
        mask = mask.reshape(shape)
        total = mask if total is None else total & mask
    assert total is not None
    return total.flatten(rank).flatten(0, rank - 1)


def attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: Window,
    scale: float | None,
    heads_first: bool,
) -> tuple[Tensor, Tensor]:
    """What ops.attn gives for a problem that `takes` accepts."""
    q, k, v = (to_heads_last(up(t), heads_first) for t in (query, key, value))
    lengths = tuple(k.shape[1:-2])
    for axis, step in enumerate(window.query_step):
        if step > 1:
            q = q[(slice(None),) * (1 + axis) + (slice(None, None, step),)]
    outputs = q.shape[1:-2]
    q, k, v = q.flatten(1, -3)[:, :, None], k.flatten(1, -3)[:, None], v.flatten(1, -3)[:, None]
    visible = _mask(window, lengths, query.device)[None, :, :, None]
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    # 0 * NaN is NaN: what a query does not see is 0. [B, queries, keys, H, D]
    k, v = (t.where(visible[..., None], 0) for t in (k, v))
    logits = ((q * k).sum(-1) * factor).masked_fill(~visible, -math.inf)  # [B, queries, keys, H]
    weights, lse, nothing = softmax(logits.transpose(2, 3))
    out = (weights.transpose(2, 3)[..., None] * v).sum(2).masked_fill(nothing, 0)
    out, lse = out.unflatten(1, outputs).to(query.dtype), lse.unflatten(1, outputs)
    if not heads_first:
        return out, lse
    return to_heads_first(out, True), lse.movedim(-1, 1).contiguous()
