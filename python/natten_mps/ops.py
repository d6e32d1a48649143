# SPDX-License-Identifier: MIT
"""The three operations, through which all calls reach the backends.

The layers above (functional, modules, compat) call `attn`, `qk` and `av`. Tensors are
`[B, *S, H, D]` or, with `heads_first`, `[B, H, *S, D]`; only strides differ, nothing is permuted.
Eager calls on plain tensors go straight to the backend. All others go through the same operations
registered with torch.library (see _torch_ops). A scale may be a tensor with one element; the query
is then multiplied by it.
"""

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from . import _operation, _plain, _prepared, _torch_ops
from ._carriers import is_distributed, is_foreign, refuse
from ._grad import FUNCTIONS
from ._layout import TypeMisfit, ValueMisfit
from ._operation import Operation
from .utils.window import Window

__all__ = ["Window", "attn", "attn_out", "av", "qk"]

Tensors = tuple[Tensor | None, ...]
Scale = float | Tensor | None


def attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: Window,
    scale: Scale = None,
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
    return call(_operation.ATTN, inputs, window, scale, sizes, heads_first)


def attn_out(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: Window,
    scale: Scale = None,
    rpb: Tensor | None = None,
    extra_key: Tensor | None = None,
    extra_value: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """Heads-last `attn` without lse, which is then computed only if gradients need it."""
    inputs = (query, key, value, rpb, extra_key, extra_value)
    out: Tensor = call(_operation.ATTN, inputs, window, scale, sizes, False, first_only=True)
    return out


def qk(
    query: Tensor,
    key: Tensor,
    *,
    window: Window,
    scale: Scale = None,
    rpb: Tensor | None = None,
    extra_key: Tensor | None = None,
    sizes: Tensor | None = None,
    heads_first: bool = False,
) -> Tensor:
    """Logits `scale * q.k + rpb` of each window, `[B, *queries, H, prod(K) + T]`.

    scale None: 1. Masked slots are -inf. Shapes as for `attn`; logits of extra keys come last.
    """
    inputs = (query, key, rpb, extra_key)
    return call(_operation.QK, inputs, window, scale, sizes, heads_first)


def av(
    attn: Tensor,
    value: Tensor,
    *,
    window: Window,
    extra_value: Tensor | None = None,
    sizes: Tensor | None = None,
    heads_first: bool = False,
) -> Tensor:
    """Sum values weighted by attn `[B, *queries, H, prod(K) + T]`: `[B, *queries, H, Dv]`.

    Weights of masked slots are ignored and get gradient 0.
    """
    inputs = (attn, value, extra_value)
    return call(_operation.AV, inputs, window, None, sizes, heads_first)


def call(
    op: Operation,
    inputs: Tensors,
    window: Window,
    scale: Scale,
    sizes: Tensor | None,
    heads_first: bool,
    *,
    first_only: bool = False,
) -> Any:
    """Compute an operation on its inputs, given in its order; `first_only`: without lse."""
    compiling = torch.compiler.is_compiling()
    if compiling or _plain.autocasts():
        inputs = autocast(inputs)
    if scale is not None and type(scale) is not float:
        inputs, scale = number(op, inputs, scale)
    kinds = None if compiling else _kinds(inputs, sizes)
    if kinds is None:
        apart = any(is_distributed(t) for t in inputs)
        door = _distributed() if apart else _torch_ops.call
        result = door(op, inputs, window, scale, sizes, heads_first)
        return result[0] if first_only else result
    ragged = sizes is not None
    prepared = _prepared.prepare(op, inputs, kinds, window, scale, ragged, heads_first)
    if prepared.plan is None:
        result = prepared.pure(inputs, sizes)
        return result[0] if first_only else result
    if sizes is not None:
        sizes = prepared.host_sizes(sizes)
    if torch.is_grad_enabled():
        for t in inputs:
            if t is not None and t.requires_grad:
                result = FUNCTIONS[op.name].apply(prepared, sizes, *inputs)
                return result[0] if first_only else result
    return prepared.forward(inputs, sizes, first_only)


def _distributed() -> Any:
    from .distributed import _dtensor

    return _dtensor.call


def _kinds(inputs: Tensors, sizes: Tensor | None) -> list[Any] | None:
    """The key part of `prepare` for an ordinary eager call on plain tensors; None for others."""
    if not _plain.is_calm() or (sizes is not None and _plain.kind_of(sizes) is None):
        return None
    kinds: list[Any] = []
    for t in inputs:
        if t is None:
            kinds.append(None)
            continue
        kind = _plain.kind_of(t)
        if kind is None:
            return None
        kinds.append((t.shape, t.dtype, kind))
    return kinds


def number(op: Operation, inputs: Tensors, scale: Any) -> tuple[Tensors, float | None]:
    """Convert a scale to a float. If it is a tensor, which may change and may need a gradient,
    multiply the query by it instead."""
    if isinstance(scale, Tensor):
        first, *rest = inputs
        refuse({op.inputs[0]: first})
        assert first is not None
        if scale.numel() != 1 or scale.is_complex():
            text = f"scale is a tensor of shape {tuple(scale.shape)} and {scale.dtype}"
            text += " (want one real number)"
            raise ValueMisfit("scale", text, {"got": scale})
        return (first * scale.reshape(()), *rest), 1.0
    if isinstance(scale, Real):
        return inputs, float(scale)
    if isinstance(scale, (torch.SymFloat, torch.SymInt)) or is_foreign(scale):
        return inputs, scale
    text = f"scale is {scale!r} (want a number, a tensor of one number or None)"
    raise TypeMisfit("scale", text, {"got": scale})


def autocast(inputs: Tensors) -> Tensors:
    """Cast like torch's own lower-precision operations inside autocast: all dtypes but float64."""
    first = inputs[0]
    if not isinstance(first, Tensor) or first.device.type not in ("cpu", "mps"):
        return inputs
    if not torch.is_autocast_enabled(first.device.type):
        return inputs
    to = torch.get_autocast_dtype(first.device.type)
    return tuple(
        t.to(to)
        if isinstance(t, Tensor) and t.dtype != torch.float64 and t.is_floating_point()
        else t
        for t in inputs
    )
