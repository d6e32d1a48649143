# SPDX-License-Identifier: MIT
"""The operations under torch.func: backends support reverse mode and vmap.

A vmapped dimension is folded into the batch, or into the heads if there is a bias, which has no
batch. Forward mode and second order use `pure`, whose operations PyTorch can transform.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack

from ._gradients import second_order
from ._operation import Operation
from .utils.window import Window

Tensors = Sequence[Tensor | None]
_BATCHED = torch._C._dispatch_key_parse("Batched")
#: Position of heads_first among the arguments that follow `sizes`.
_HEADS_FIRST = 7


def flat(window: Window) -> tuple[Any, ...]:
    """The arguments of a registered operation that describe a window. Ranges are passed last.

    Fields are read by name: the compiler of torch 2.6 and 2.7 cannot slice named tuples.
    """
    kernel, dilation, stride, query_step, causal, mask_first, _ = window
    return kernel, dilation, stride, query_step, causal, mask_first


def flat_ranges(window: Window) -> list[Any] | None:
    """Concatenated offsets of the queries, offsets of the keys, and lengths of whole axes."""
    return None if window.ranges is None else [n for part in window.ranges for n in part]


def differentiates() -> bool:
    """Whether a torch.func transform takes gradients."""
    return TransformType.Grad in _kinds()


def beyond_backends() -> bool:
    """Whether only `pure` can do what is requested: forward mode, second order, or gradients below
    torch.func.functionalize."""
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    kinds = _kinds()
    gradients = kinds.count(TransformType.Grad)
    functional = gradients and TransformType.Functionalize in kinds
    return TransformType.Jvp in kinds or gradients > 1 or bool(functional)


def _kinds() -> list[TransformType]:
    return [level.key() for level in get_interpreter_stack() or ()]


class Rule:
    """An operation and its non-tensor arguments."""

    def __init__(self, op: Operation, window: Window, scale: float | None, first: bool) -> None:
        """`first`: whether the layout is heads-first."""
        self.op = op
        self.arguments = (*flat(window), scale, first)
        self.ranges = flat_ranges(window)
        self.options = {"window": window, "scale": scale, "heads_first": first}

    def pure(self, inputs: Tensors, sizes: Tensor | None) -> Any:
        """Compute with PyTorch's own operations."""
        return self.op.pure(*inputs, sizes=sizes, **self.options)

    def forward(self, inputs: Tensors, sizes: Tensor | None) -> Any:
        """Call the registered operation."""
        function = getattr(torch.ops.natten_mps, self.op.name)
        return function(*inputs, sizes, *self.arguments, self.ranges)

    def backward(self, tensors: Tensors, sizes: Tensor | None, wanted: Sequence[bool]) -> Any:
        """Call the registered backward operation: gradients of the wanted inputs."""
        function = getattr(torch.ops.natten_mps, self.op.name + "_backward")
        return tuple(function(*tensors, sizes, *self.arguments, list(wanted), self.ranges))


class Transformed(torch.autograd.Function):
    """An operation inside at least one level of reverse mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rule: Rule, sizes: Tensor | None, *inputs: Tensor | None) -> Any:
        """apply(rule, sizes, *inputs) -> the outputs."""
        return rule.forward(inputs, sizes)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save what backward reads."""
        ctx.rule, sizes, *tensors = inputs
        kept = output if ctx.rule.op.keeps_outputs else ()
        ctx.save_for_backward(sizes, *tensors, *kept)

    @staticmethod
    def backward(ctx: Any, *d_outputs: Tensor) -> Any:
        """One gradient per argument of apply."""
        sizes, *tensors = ctx.saved_tensors
        return (
            None,
            None,
            *gradients(ctx.rule, sizes, ctx.needs_input_grad[2:], tensors, d_outputs),
        )


def gradients(
    rule: Rule,
    sizes: Tensor | None,
    wanted: Sequence[bool],
    tensors: Tensors,
    d_outputs: Tensors,
) -> list[Tensor | None]:
    """Return a gradient for each wanted input; `tensors` are inputs and saved outputs."""
    if not any(wanted):
        return [None] * len(wanted)
    if is_batched(d_outputs):
        return _batched_gradients(rule, sizes, wanted, tensors, d_outputs)
    found = iter(TransformedBackward.apply(rule, tuple(wanted), sizes, *tensors, *d_outputs))
    return [next(found) if want else None for want in wanted]


def is_batched(tensors: Tensors) -> bool:
    """Whether the output gradients are batched by torch.autograd.grad."""
    return any(_in_batched_gradient(tensor) for tensor in tensors)


def _in_batched_gradient(tensor: Tensor | None) -> bool:
    """Whether a gradient is batched by torch.autograd.grad(..., is_grads_batched=True), which
    uses a vmap that is older than torch.func's and has no rules for operations."""
    return tensor is not None and torch._C._dispatch_keys(tensor).has(_BATCHED)


def _batched_gradients(
    rule: Rule,
    sizes: Tensor | None,
    wanted: Sequence[bool],
    tensors: Tensors,
    d_outputs: Tensors,
) -> list[Tensor | None]:
    """Gradients for batched output gradients, folded by the rule for torch.func.vmap."""
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    batched = [_in_batched_gradient(d) for d in d_outputs]
    fronts = [
        torch._remove_batch_dim(d, level, 1, 0) if d is not None and of_many else d
        for d, of_many in zip(d_outputs, batched, strict=True)
    ]

    def one(*d_outputs: Tensor | None) -> tuple[Tensor, ...]:
        found = gradients(rule, sizes, wanted, tensors, d_outputs)
        return tuple(t for t in found if t is not None)

    dims = tuple(0 if of_many else None for of_many in batched)
    found = iter(torch.func.vmap(one, in_dims=dims)(*fronts))
    return [torch._add_batch_dim(next(found), 0, level) if want else None for want in wanted]


class TransformedBackward(torch.autograd.Function):
    """The backward pass, differentiable once more if no transform is left."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        rule: Rule, wanted: tuple[bool, ...], sizes: Tensor | None, *tensors: Tensor | None
    ) -> Any:
        """`tensors`: inputs, saved outputs and gradients of the outputs."""
        return rule.backward(tensors, sizes, wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save what backward reads."""
        ctx.rule, ctx.wanted, sizes, *tensors = inputs
        ctx.save_for_backward(sizes, *tensors)

    @staticmethod
    def backward(ctx: Any, *dd: Tensor) -> Any:
        """Differentiate the gradients that `pure` computes."""
        sizes, *tensors = ctx.saved_tensors
        op: Operation = ctx.rule.op
        n, m = len(op.inputs), len(op.outputs)
        given = iter(dd)
        every = [next(given) if want else None for want in ctx.wanted]
        again = second_order(
            lambda *inputs: ctx.rule.pure(inputs, sizes),
            tensors[:n],
            tensors[-m:],
            ctx.wanted,
            every,
        )
        return (None, None, None, *again[:n], *[None] * (len(tensors) - n - m), *again[n:])


def vmap_rule(
    name: str, tensors: Sequence[str], results: Callable[[Sequence[Any]], Sequence[str]]
) -> Any:
    """The vmap rule of a registered operation, from the names of its tensors and of its results,
    `results(rest)`, where `rest` is the arguments after the sizes."""
    count = len(tensors)

    def rule(info: Any, in_dims: Any, *arguments: Any) -> Any:
        size, sizes, rest = info.batch_size, arguments[count], arguments[count + 1 :]
        function = getattr(torch.ops.natten_mps, name)
        front = [
            _front(t, d, size) for t, d in zip(arguments[:count], in_dims[:count], strict=True)
        ]
        biased = "rpb" in tensors and front[tensors.index("rpb")] is not None
        if biased and in_dims[count] is not None:
            return _loop(function, front, _front(sizes, in_dims[count], size), rest, size)
        axes = [_axis(name, rest[_HEADS_FIRST]) if biased else 0 for name in tensors]
        folded = [_fold(t, axis) for t, axis in zip(front, axes, strict=True)]
        if sizes is not None and not biased:
            sizes = _fold(_front(sizes, in_dims[count], size), 0)
        found = function(*folded, sizes, *rest)
        axes = [_axis(name, rest[_HEADS_FIRST]) if biased else 0 for name in results(rest)]
        if isinstance(found, Tensor):
            return _unfold(found, axes[0], size), axes[0] % (found.dim() + 1)
        unfolded = [_unfold(t, axis, size) for t, axis in zip(found, axes, strict=True)]
        dims = [axis % t.dim() for t, axis in zip(unfolded, axes, strict=True)]
        return type(found)(unfolded), type(found)(dims)

    return rule


def _front(tensor: Tensor | None, dim: int | None, size: int) -> Tensor | None:
    """Move the vmapped dimension to the front; repeat a tensor that does not have it."""
    if tensor is None:
        return None
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _axis(name: str, heads_first: bool) -> int:
    """Dimension of a tensor's heads, or of the vmapped dimension after unfolding."""
    name = name.removeprefix("d_")
    if name == "rpb":
        return 0
    if heads_first:
        return 1
    return -2 if name == "lse" else -3


def _fold(tensor: Tensor | None, axis: int) -> Tensor | None:
    """Fold the leading dimension into the one that follows `axis`."""
    if tensor is None:
        return None
    axis %= tensor.dim()
    return tensor.movedim(0, axis).flatten(axis, axis + 1)


def _unfold(tensor: Tensor, axis: int, size: int) -> Tensor:
    axis %= tensor.dim() + 1
    return tensor.unflatten(axis, (size, tensor.shape[axis] // size))


def _loop(
    function: Any, front: Sequence[Tensor | None], sizes: Any, rest: Sequence[Any], size: int
) -> Any:
    """Make one call per sample."""
    found = [
        function(*[None if t is None else t[i] for t in front], sizes[i], *rest)
        for i in range(size)
    ]
    if isinstance(found[0], Tensor):
        return torch.stack(found), 0
    kind = type(found[0])
    return kind(torch.stack(part) for part in zip(*found, strict=True)), kind([0] * len(found[0]))
