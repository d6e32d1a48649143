# SPDX-License-Identifier: MIT
"""The operations as torch.ops.natten_mps.{attn,qk,av} and their *_backward.

All calls that are not known to be plain go through here: torch.compile, torch.export, fake tensors,
dispatch modes such as the FLOP counter, tensor subclasses and torch.func. Recorded traces
(torch.jit.trace), forward mode and second order under torch.func use the operations of `pure`, and
tiny problems under torch.compile those of `_dense`.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from . import _dense, _layout, _namespace, _operation, _prepared, _transforms, backend, pure
from ._carriers import declining, is_foreign, refuse
from ._gradients import first_order, second_order
from ._operation import Operation
from ._transforms import Rule
from .utils.window import Ranges, Window

Tensors = Sequence[Tensor | None]

_LIBRARY = _namespace.define()
_OPTIONAL = ("rpb", "extra_key", "extra_value", "d_lse")
_RULE = (
    "Tensor? sizes, int[] kernel, int[] dilation, int[] stride, int[] query_step, bool[] causal,"
    " bool mask_first, float? scale, bool heads_first"
)
_RULE_LENGTH = 9
#: Comes after the rule, whose positions programs exported earlier rely on: see flat_ranges.
_RANGES = "SymInt[]? ranges=None"


def _is_exporting() -> bool:
    """Whether torch.export traces this.

    The flag is read, as compilers up to torch 2.10 take the call of its function for true. torch
    2.6 has neither; there a small program is exported as the operations of `pure`.
    """
    return bool(getattr(torch.compiler, "_is_exporting_flag", False))


def _arguments(names: Sequence[str]) -> str:
    return ", ".join(f"Tensor{'?' if name in _OPTIONAL else ''} {name}" for name in names)


def _d(names: Sequence[str]) -> tuple[str, ...]:
    return tuple("d_" + name for name in names)


def _kept(op: Operation) -> tuple[str, ...]:
    return op.outputs if op.keeps_outputs else ()


def call(
    op: Operation,
    inputs: Tensors,
    window: Window,
    scale: float | None,
    sizes: Tensor | None,
    heads_first: bool,
) -> Any:
    """Compute on tensors that are traced, transformed, observed or not plain."""
    if torch.compiler.is_compiling():
        return _compiled(op, inputs, window, scale, sizes, heads_first)
    named = (*zip(op.inputs, inputs, strict=True), ("sizes", sizes))
    refuse({name: t for name, t in named if t is not None})
    rule = Rule(op, window, scale, heads_first)
    if any(is_foreign(t) for t in (*inputs, sizes, scale)):
        return rule.forward(inputs, sizes)
    _layout.check_kinds(op, inputs)
    if isinstance(scale, float):
        _layout.check_scale(scale)
    given = {n: pure.shape_of(t) for n, t in zip(op.inputs, inputs, strict=True) if t is not None}
    found = _layout.layout(op, given, window, heads_first)
    if sizes is None:
        _layout.check_held(found, window)
    if torch._C._get_tracing_state() is not None or _transforms.beyond_backends():
        return rule.pure(inputs, sizes)
    if _transforms.differentiates():
        return _transforms.Transformed.apply(rule, sizes, *inputs)
    with declining((*op.inputs, "sizes"), (*inputs, sizes)):
        return rule.forward(inputs, sizes)


def _compiled(
    op: Operation,
    inputs: Tensors,
    window: Window,
    scale: float | None,
    sizes: Tensor | None,
    heads_first: bool,
) -> Any:
    """Compute under torch.compile and torch.export; values are checked at run time."""
    if (
        op is _operation.ATTN
        and sizes is None
        and backend.choice in ("auto", "pure")  # otherwise use the selected backend
        and not _is_exporting()
        and _dense.takes(inputs, window, scale, heads_first)
    ):
        query, key, value = inputs[:3]
        assert query is not None
        assert key is not None
        assert value is not None
        return _dense.attn(query, key, value, window=window, scale=scale, heads_first=heads_first)
    function = getattr(torch.ops.natten_mps, op.name)
    windows, ranges = _transforms.flat(window), _transforms.flat_ranges(window)
    return function(*inputs, sizes, *windows, scale, heads_first, ranges)


def _window(rule: Sequence[Any], flat: Sequence[int] | None) -> Window:
    kernel, dilation, stride, query_step, causal = (tuple(part) for part in rule[1:6])
    ranges = None
    if flat is not None:
        n = len(kernel)
        if len(flat) != 3 * n:
            raise ValueError(f"ranges has {len(flat)} entries (want 3 for each of {n} axes)")
        ranges = Ranges(tuple(flat[:n]), tuple(flat[n : 2 * n]), tuple(flat[2 * n :]))
    return Window(kernel, dilation, stride, query_step, causal, rule[6], ranges)


class _Call:
    """The arguments of a registered operation: tensors, the window rule, `rest` further arguments,
    and ranges, which torch omits if they are None."""

    def __init__(
        self, op: Operation, tensors: int, arguments: Sequence[Any], rest: int = 0
    ) -> None:
        n = len(op.inputs)
        rule = arguments[tensors : tensors + _RULE_LENGTH]
        behind = tensors + _RULE_LENGTH + rest
        self.ranges = arguments[behind] if len(arguments) > behind else None
        self.op = op
        self.inputs: Tensors = arguments[:n]
        self.tensors: Tensors = arguments[n:tensors]
        self.sizes: Tensor | None = rule[0]
        self.rule = rule
        self.window = _window(rule, self.ranges)
        self.scale, self.heads_first = rule[7:]
        self.rest = arguments[tensors + _RULE_LENGTH : behind]

    def layout(self) -> _layout.Layout:
        names = zip(self.op.inputs, self.inputs, strict=True)
        shapes = {name: t.shape for name, t in names if t is not None}
        return _layout.layout(self.op, shapes, self.window, self.heads_first)

    def prepare(self) -> _prepared.Prepared:
        return _prepared.prepare(
            self.op,
            self.inputs,
            _prepared.kinds_of(self.inputs),
            self.window,
            self.scale,
            self.sizes is not None,
            self.heads_first,
        )

    def as_rule(self) -> Rule:
        return Rule(self.op, self.window, self.scale, self.heads_first)

    def pure(self, *inputs: Tensor | None) -> Any:
        return self.as_rule().pure(inputs, self.sizes)


def _forward(op: Operation) -> Callable[..., Any]:
    def forward(*arguments: Any) -> Any:
        call = _Call(op, len(op.inputs), arguments)
        prepared = call.prepare()
        if prepared.plan is not None:
            sizes = prepared.host_sizes(call.sizes)
            return prepared.forward(call.inputs, sizes)
        result = prepared.pure(call.inputs, call.sizes)
        return tuple(_dense_rows(t) for t in result) if op.keeps_outputs else _dense_rows(result)

    return forward


def decomposition(op: Operation) -> Callable[..., Any]:
    """The operation in terms of standard ones; torch.onnx.export finds it automatically."""

    def decomposition(*arguments: Any) -> Any:
        call = _Call(op, len(op.inputs), arguments)
        return call.pure(*call.inputs)

    return decomposition


def _fake_forward(op: Operation) -> Callable[..., Any]:
    def fake(*arguments: Any) -> Any:
        call = _Call(op, len(op.inputs), arguments)
        first = arguments[0]
        shapes = _layout.output_shapes(op, call.layout(), call.window, call.heads_first)
        out = first.new_empty(shapes[0])
        if not op.keeps_outputs:
            return out
        return out, first.new_empty(shapes[1], dtype=_layout.lse_dtype(first.dtype))

    return fake


def _tensors_of_backward(op: Operation) -> int:
    return len(op.inputs) + len(_kept(op)) + len(op.outputs)


def _backward(op: Operation) -> Callable[..., Any]:
    def backward(*arguments: Any) -> list[Tensor]:
        call = _Call(op, _tensors_of_backward(op), arguments, 1)
        kept, d_outputs = call.tensors[: len(_kept(op))], call.tensors[len(_kept(op)) :]
        (wanted,) = call.rest
        prepared = call.prepare()
        if prepared.plan is not None:
            grads: Tensors = prepared.backward(
                call.inputs,
                kept,
                d_outputs,
                prepared.host_sizes(call.sizes),
                wanted,
            )
        else:
            grads = _pure_backward(call, d_outputs, wanted)
        return [t for t, want in zip(grads, wanted, strict=True) if want and t is not None]

    return backward


def _pure_backward(call: _Call, d_outputs: Tensors, wanted: Sequence[bool]) -> Tensors:
    found = first_order(call.pure, call.inputs, d_outputs, wanted)
    return [None if t is None else _dense_rows(t) for t in found]


def _dense_rows(tensor: Tensor) -> Tensor:
    """A dense tensor whose strides also match those of fake results in dimensions of size 1."""
    return tensor.contiguous().flatten().view(tensor.shape)


def _fake_backward(op: Operation) -> Callable[..., Any]:
    def fake(*arguments: Any) -> list[Tensor]:
        call = _Call(op, _tensors_of_backward(op), arguments, 1)
        (wanted,) = call.rest
        return [
            t.new_empty(t.shape)
            for t, want in zip(call.inputs, wanted, strict=True)
            if want and t is not None
        ]

    return fake


def _setup(op: Operation) -> Callable[..., None]:
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        call = _Call(op, len(op.inputs), inputs)
        ctx.rule, ctx.ranges = call.rule[1:], call.ranges
        kept = output if op.keeps_outputs else ()
        ctx.save_for_backward(*call.inputs, call.sizes, *kept)
        ctx.set_materialize_grads(False)

    return setup_context


def _differentiate(op: Operation) -> Callable[..., Any]:
    n = len(op.inputs)
    backward_op = getattr(torch.ops.natten_mps, op.name + "_backward")

    def backward(ctx: Any, *d_outputs: Tensor | None) -> Any:
        saved = ctx.saved_tensors
        inputs, sizes, kept = saved[:n], saved[n], saved[n + 1 :]
        wanted = [bool(need) for need in ctx.needs_input_grad[:n]]
        nothing = (None,) * (_RULE_LENGTH + 1)
        if all(d is None for d in d_outputs) or not any(wanted):
            return (*(None for _ in inputs), *nothing)
        first, *rest = d_outputs
        if first is None:
            first = torch.zeros_like(kept[0])
        if not torch.compiler.is_compiling() and _transforms.is_batched((first, *rest)):
            call = _Call(op, n, (*inputs, sizes, *ctx.rule, ctx.ranges))
            given = (first, *rest)
            found = _transforms.gradients(call.as_rule(), sizes, wanted, (*inputs, *kept), given)
            return (*found, *nothing)
        given = (*inputs, *kept, first, *rest)
        grads = iter(backward_op(*given, sizes, *ctx.rule, wanted, ctx.ranges))
        return (*(next(grads) if want else None for want in wanted), *nothing)

    return backward


def _setup_second(op: Operation) -> Callable[..., None]:
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        call = _Call(op, _tensors_of_backward(op), inputs, 1)
        ctx.rule, ctx.ranges = call.rule[1:], call.ranges
        (ctx.wanted,) = call.rest
        ctx.save_for_backward(*call.inputs, *call.tensors[len(_kept(op)) :], call.sizes)

    return setup_context


def _differentiate_second(op: Operation) -> Callable[..., Any]:
    n, m = len(op.inputs), len(op.outputs)

    def backward(ctx: Any, dd: list[Tensor]) -> Any:
        saved = ctx.saved_tensors
        call = _Call(op, n, (*saved[:n], saved[-1], *ctx.rule, ctx.ranges))
        given = iter(dd)
        every = [next(given) if want else None for want in ctx.wanted]
        again = second_order(call.pure, saved[:n], saved[n : n + m], ctx.wanted, every)
        rest = (None,) * (_RULE_LENGTH + 2)
        return (*again[:n], *[None] * len(_kept(op)), *again[n:], *rest)

    return backward


def _chosen(names: Sequence[str], wanted: Sequence[bool]) -> list[str]:
    return [name for name, want in zip(names, wanted, strict=True) if want]


def _define(op: Operation) -> None:
    result = "(Tensor, Tensor)" if len(op.outputs) == 2 else "Tensor"
    _LIBRARY.define(f"{op.name}({_arguments(op.inputs)}, {_RULE}, {_RANGES}) -> {result}")
    tensors = (*op.inputs, *_kept(op), *_d(op.outputs))
    _LIBRARY.define(
        f"{op.name}_backward({_arguments(tensors)}, {_RULE}, bool[] wanted, {_RANGES}) -> Tensor[]"
    )
    for name, run, fake in (
        (op.name, _forward(op), _fake_forward(op)),
        (op.name + "_backward", _backward(op), _fake_backward(op)),
    ):
        _LIBRARY.impl(name, run, "CompositeExplicitAutograd")
        torch.library.register_fake(f"natten_mps::{name}", fake, lib=_LIBRARY)
    for name, names, results in (
        (op.name, op.inputs, lambda _: op.outputs),
        (op.name + "_backward", tensors, lambda rest: _chosen(_d(op.inputs), rest[8])),
    ):
        rule = _transforms.vmap_rule(name, names, results)
        torch.library.register_vmap(f"natten_mps::{name}", rule, lib=_LIBRARY)
    torch.library.register_autograd(
        f"natten_mps::{op.name}", _differentiate(op), setup_context=_setup(op), lib=_LIBRARY
    )
    decompose = getattr(torch.ops.natten_mps, op.name).default
    torch._decomp.register_decomposition(decompose)(decomposition(op))
    torch.library.register_autograd(
        f"natten_mps::{op.name}_backward",
        _differentiate_second(op),
        setup_context=_setup_second(op),
        lib=_LIBRARY,
    )


def _count_flops(op: Operation) -> None:
    """Count each multiply-add of a window's products as two. The backward pass of a split operation
    has two products for one in the forward pass, that of the fused operation five for two."""
    n = len(op.inputs)

    def products(call: _Call) -> tuple[int, int]:
        shapes: Any = dict(zip(op.inputs, call.inputs, strict=True))
        given = {name: tuple(shape) for name, shape in shapes.items() if shape is not None}
        window = call.window
        sizes = _layout.layout(op, given, window, call.heads_first)
        queries = sizes.batch * sizes.heads * prod(_layout.outputs_of(sizes.queries, window))
        slots = prod(window.kernel) + sizes.extra
        return 2 * queries * slots * sizes.head_dim, 2 * queries * slots * sizes.value_dim

    def forward(*arguments: Any, **_: Any) -> int:
        qk, av = products(_Call(op, n, arguments))
        return {"attn": qk + av, "qk": qk, "av": av}[op.name]

    def backward(*arguments: Any, **_: Any) -> int:
        qk, av = products(_Call(op, _tensors_of_backward(op), arguments, 1))
        return {"attn": 3 * qk + 2 * av, "qk": 2 * qk, "av": 2 * av}[op.name]

    register_flop_formula(getattr(torch.ops.natten_mps, op.name))(forward)
    register_flop_formula(getattr(torch.ops.natten_mps, op.name + "_backward"))(backward)


for _op in (_operation.ATTN, _operation.QK, _operation.AV):
    _define(_op)
    _count_flops(_op)
