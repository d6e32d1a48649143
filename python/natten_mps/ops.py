# SPDX-License-Identifier: MIT
"""The three operations, and the only door to the backends.

Everything above (functional, modules, compat) calls `attn`, `qk` and `av`. Tensors are
`[B, *S, H, D]` or, with `heads_first`, `[B, H, *S, D]`; only strides differ, nothing is permuted.
Eager calls go straight to the backend; while something is tracing or transforming they go through
the same operations registered with torch.library (see _torch_ops).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from . import _operation, _prepared, _torch_ops
from ._grad import Differentiable
from ._operation import Operation
from .utils.window import Window

__all__ = ["Window", "attn", "attn_out", "av", "qk"]

Tensors = tuple[Tensor | None, ...]


def attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: Window,
    scale: float | None = None,
    rpb: Tensor | None = None,
    extra_key: Tensor | None = None,
    extra_value: Tensor | None = None,
    sizes: Tensor | None = None,
    heads_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """Fused neighborhood attention: `softmax(scale * q.k + rpb) . v` over each window.

    query `[B, *S, H, D]`, key `[B, *S, Hkv, D]`, value `[B, *S, Hkv, Dv]`, rpb `[H, 2K-1, ...]`,
    extra_key/extra_value `[B, T, Hkv, D or Dv]` (seen by every query), sizes `[B, rank]` integers.
    scale None: `D ** -0.5`. Returns out `[B, *queries, H, Dv]` and the natural-log lse
    `[B, *queries, H]` (float32, or float64 for float64), both differentiable.
    """
    inputs = (query, key, value, rpb, extra_key, extra_value)
    return _call(_operation.ATTN, inputs, window, scale, sizes, heads_first)


def attn_out(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: Window,
    scale: float | None = None,
    rpb: Tensor | None = None,
    extra_key: Tensor | None = None,
    extra_value: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """`attn` for heads last without lse, which then is computed only where gradients need it."""
    inputs = (query, key, value, rpb, extra_key, extra_value)
    out: Tensor = _call(_operation.ATTN, inputs, window, scale, sizes, False, first_only=True)
    return out


def qk(
    query: Tensor,
    key: Tensor,
    *,
    window: Window,
    scale: float | None = None,
    rpb: Tensor | None = None,
    extra_key: Tensor | None = None,
    sizes: Tensor | None = None,
    heads_first: bool = False,
) -> Tensor:
    """Logits `scale * q.k + rpb` of each window, `[B, *queries, H, prod(K) + T]`.

    scale None: 1. Masked slots are -inf. Shapes as for `attn`; logits of extra keys come last.
    """
    inputs = (query, key, rpb, extra_key)
    return _call(_operation.QK, inputs, window, scale, sizes, heads_first)


def av(
    attn: Tensor,
    value: Tensor,
    *,
    window: Window,
    extra_value: Tensor | None = None,
    sizes: Tensor | None = None,
    heads_first: bool = False,
) -> Tensor:
    """Sums of values weighted by attn `[B, *queries, H, prod(K) + T]`: `[B, *queries, H, Dv]`.

    Weights of masked slots are ignored and get gradient 0.
    """
    inputs = (attn, value, extra_value)
    return _call(_operation.AV, inputs, window, None, sizes, heads_first)


def _call(
    op: Operation,
    inputs: Tensors,
    window: Window,
    scale: float | None,
    sizes: Tensor | None,
    heads_first: bool,
    *,
    first_only: bool = False,
) -> Any:
    if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("mps"):
        inputs = _autocast(inputs)
    if torch.compiler.is_compiling():
        plain, differentiable = False, False
    else:
        plain, differentiable = _look(inputs)
    if not plain:
        result = _torch_ops.call(op, inputs, window, scale, sizes, heads_first)
        return result[0] if first_only else result
    prepared = _prepared.prepare(op, inputs, window, scale, sizes is not None, heads_first)
    if prepared.plan is None:
        result = prepared.pure(inputs, sizes)
        return result[0] if first_only else result
    if sizes is not None:
        sizes = prepared.host_sizes(sizes)
    if differentiable and torch.is_grad_enabled():
        result = Differentiable.apply(prepared, sizes, *inputs)
        return result[0] if first_only else result
    return prepared.forward(inputs, sizes, first_only)


def _look(inputs: Tensors) -> tuple[bool, bool]:
    """Whether this is an ordinary eager call, which nothing observes or transforms, and whether
    any input requires a gradient."""
    if torch._C._len_torch_dispatch_stack() or _torch_ops.transformed():
        return False, False
    differentiable = False
    for t in inputs:
        if t is not None:
            if type(t) is not Tensor and type(t) is not Parameter:
                return False, False
            differentiable = differentiable or t.requires_grad
    return True, differentiable


def _autocast(inputs: Tensors) -> Tensors:
    """Cast as torch's own lower-precision operations do: all but float64, inside autocast."""
    first = inputs[0]
    if not isinstance(first, Tensor) or first.device.type not in ("cpu", "mps"):
        return inputs
    if not torch.is_autocast_enabled(first.device.type):
        return inputs
    to = torch.get_autocast_dtype(first.device.type)
    return tuple(
        t if t is None or t.dtype == torch.float64 or not t.is_floating_point() else t.to(to)
        for t in inputs
    )
