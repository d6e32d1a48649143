# SPDX-License-Identifier: MIT
"""Gradients of eager calls: by the library, and those of gradients by `pure`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import _plain, _transforms
from ._prepared import Prepared
from ._second_order import second_order

Tensors = Sequence[Tensor | None]


class _Differentiable(torch.autograd.Function):
    """An operation and its backward pass."""

    @staticmethod
    def forward(ctx: Any, prepared: Prepared, sizes: Tensor | None, *inputs: Tensor | None) -> Any:
        """apply(prepared, sizes, *inputs) -> the outputs."""
        result = prepared.forward(inputs, sizes)
        ctx.prepared, ctx.sizes = prepared, sizes
        ctx.set_materialize_grads(False)
        if prepared.op.keeps_outputs:
            ctx.save_for_backward(*inputs, *result)
        else:
            ctx.save_for_backward(*inputs)
        return result

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor | None) -> Any:
        """One gradient an argument of apply."""
        wanted = ctx.needs_input_grad[2:]
        if all(d is None for d in d_outputs):
            return (None, None, *(None for _ in wanted))
        saved, n = ctx.saved_tensors, len(wanted)
        if not _plain.is_calm() or any(
            d is not None and _plain.kind_of(d) is None for d in d_outputs
        ):  # is_grads_batched, say
            given = _given(d_outputs, saved[n:])
            rule = ctx.prepared.rule()
            return (None, None, *_transforms.gradients(rule, ctx.sizes, wanted, saved, given))
        if torch.is_grad_enabled():
            return (
                None,
                None,
                *Gradient.apply(ctx.prepared, ctx.sizes, wanted, *saved, *d_outputs),
            )
        given = _given(d_outputs, saved[n:])
        return (None, None, *ctx.prepared.backward(saved[:n], saved[n:], given, ctx.sizes, wanted))


class NeighborhoodAttention(_Differentiable):
    """Fused attention; autograd's graph has the name."""


class NeighborhoodLogits(_Differentiable):
    """Logits of the windows."""


class NeighborhoodValues(_Differentiable):
    """Weighted values of the windows."""


#: Name of an operation -> its function.
FUNCTIONS: dict[str, Any] = {
    "attn": NeighborhoodAttention,
    "qk": NeighborhoodLogits,
    "av": NeighborhoodValues,
}


def _given(d_outputs: Tensors, outputs: Tensors) -> list[Tensor | None]:
    """Gradients of the outputs; out's is needed even where only lse has one."""
    first, *rest = d_outputs
    if first is None:
        assert outputs[0] is not None
        first = torch.zeros_like(outputs[0])
    return [first, *rest]


class Gradient(torch.autograd.Function):
    """The backward pass as an operation that is differentiable itself."""

    @staticmethod
    def forward(
        ctx: Any,
        prepared: Prepared,
        sizes: Tensor | None,
        wanted: tuple[bool, ...],
        *tensors: Tensor | None,
    ) -> Any:
        """`tensors`: inputs, kept outputs, gradients of the outputs."""
        n, m = len(prepared.op.inputs), len(prepared.op.outputs)
        inputs, outputs, d_outputs = tensors[:n], tensors[n:-m], tensors[-m:]
        ctx.prepared, ctx.sizes, ctx.wanted = prepared, sizes, wanted
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *d_outputs)
        ctx.outputs = len(outputs)
        return prepared.backward(inputs, outputs, _given(d_outputs, outputs), sizes, wanted)

    @staticmethod
    def backward(ctx: Any, *dd: Tensor | None) -> Any:
        """Differentiates the gradients that `pure` gives."""
        prepared: Prepared = ctx.prepared
        n, saved = len(prepared.op.inputs), ctx.saved_tensors
        again = second_order(
            lambda *inputs: prepared.pure(inputs, ctx.sizes), saved[:n], saved[n:], ctx.wanted, dd
        )
        return (None, None, None, *again[:n], *[None] * ctx.outputs, *again[n:])
