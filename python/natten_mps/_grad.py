# SPDX-License-Identifier: MIT
"""Gradients of eager calls: first order by the library, higher order by `pure`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import _plain, _transforms
from ._gradients import second_order
from ._prepared import Prepared

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
        """One gradient per argument of apply."""
        wanted = ctx.needs_input_grad[2:]
        if all(d is None for d in d_outputs):
            return (None, None, *(None for _ in wanted))
        saved, n = ctx.saved_tensors, len(wanted)
        if not _plain.is_calm() or any(
            d is not None and _plain.kind_of(d) is None for d in d_outputs
        ):  # for example with is_grads_batched
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
    """Fused attention; this class name appears in autograd's graph."""


class NeighborhoodLogits(_Differentiable):
    """Logits of each window."""


class NeighborhoodValues(_Differentiable):
    """Weighted sums of the values in each window."""


#: Operation name -> autograd function.
FUNCTIONS: dict[str, Any] = {
    "attn": NeighborhoodAttention,
    "qk": NeighborhoodLogits,
    "av": NeighborhoodValues,
}


def _given(d_outputs: Tensors, outputs: Tensors) -> list[Tensor | None]:
    """Gradients of the outputs; out's is required even if only lse has one."""
    first, *rest = d_outputs
    if first is None:
        assert outputs[0] is not None
        first = torch.zeros_like(outputs[0])
    return [first, *rest]


class Gradient(torch.autograd.Function):
    """The backward pass as an operation that is itself differentiable."""

    @staticmethod
    def forward(
        ctx: Any,
        prepared: Prepared,
        sizes: Tensor | None,
        wanted: tuple[bool, ...],
        *tensors: Tensor | None,
    ) -> Any:
        """`tensors`: inputs, saved outputs and gradients of the outputs."""
        n, m = len(prepared.op.inputs), len(prepared.op.outputs)
        inputs, outputs, d_outputs = tensors[:n], tensors[n:-m], tensors[-m:]
        ctx.prepared, ctx.sizes, ctx.wanted = prepared, sizes, wanted
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, *d_outputs)
        ctx.outputs = len(outputs)
        return prepared.backward(inputs, outputs, _given(d_outputs, outputs), sizes, wanted)

    @staticmethod
    def backward(ctx: Any, *dd: Tensor | None) -> Any:
        """Differentiate the gradients that `pure` computes."""
        prepared: Prepared = ctx.prepared
        n, saved = len(prepared.op.inputs), ctx.saved_tensors
        again = second_order(
            lambda *inputs: prepared.pure(inputs, ctx.sizes), saved[:n], saved[n:], ctx.wanted, dd
        )
        return (None, None, None, *again[:n], *[None] * ctx.outputs, *again[n:])
