# SPDX-License-Identifier: MIT
"""Fused attention for small inputs under a compiler: all query-key pairs, then a mask.

A compiler turns this into one or two loops, which are cheaper than calling an operation. It uses no
gathers: a compiled program would sum their gradients in a nondeterministic order.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .pure import softmax, to_heads_first, to_heads_last, up, window_start
from .utils.window import Window

#: Upper bound on the multiply-adds of all queries with all keys and values. Below it, on two cores,
#: this saves 25 to 50 us over calling an operation, and 100 us with gradients.
MOST = 65536
#: Compilers up to torch 2.10 cannot trace the query whether a size is statically known, so there
#: the comparison itself becomes a guard of the compiled program.
_ASKS = tuple(int(part) for part in torch.__version__.split(".")[:2]) > (2, 10)


def takes(inputs: Sequence[Any], window: Window, scale: float | None, heads_first: bool) -> bool:
    """Whether `attn` below should compute a problem.

    It does if query, key and value are valid, have the same shape and come without other inputs,
    and if the sizes are static and so small that a call costs more than the work.

    Every function and constant read here becomes a guard, checked before each compiled call.
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
    if not small:  # separate, because the compiler of torch 2.6 cannot convert a symbol to bool
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
    """[queries, keys] along one axis: which keys each query sees."""
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
    """[queries, keys], both flattened over the axes."""
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
    """Same result as ops.attn, for a problem that `takes` accepts."""
    q, k, v = (to_heads_last(up(t), heads_first) for t in (query, key, value))
    lengths = tuple(k.shape[1:-2])
    for axis, step in enumerate(window.query_step):
        if step > 1:
            q = q[(slice(None),) * (1 + axis) + (slice(None, None, step),)]
    outputs = q.shape[1:-2]
    q, k, v = q.flatten(1, -3)[:, :, None], k.flatten(1, -3)[:, None], v.flatten(1, -3)[:, None]
    visible = _mask(window, lengths, query.device)[None, :, :, None]
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    # Zero the keys and values that a query does not see: 0 * NaN is NaN. [B, queries, keys, H, D]
    k, v = (t.where(visible[..., None], 0) for t in (k, v))
    logits = ((q * k).sum(-1) * factor).masked_fill(~visible, -math.inf)  # [B, queries, keys, H]
    weights, lse, nothing = softmax(logits.transpose(2, 3))
    out = (weights.transpose(2, 3)[..., None] * v).sum(2).masked_fill(nothing, 0)
    out, lse = out.unflatten(1, outputs).to(query.dtype), lse.unflatten(1, outputs)
    if not heads_first:
        return out, lse
    return to_heads_first(out, True), lse.movedim(-1, 1).contiguous()
