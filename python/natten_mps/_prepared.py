# SPDX-License-Identifier: MIT
"""Prepared problems: all decisions that do not depend on the data, and a cache of them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from . import _abi, _lib, _plan, backend
from ._choose import choose, in_metal_memory, warn_of_plainer_kernels, warn_once
from ._gradients import first_order
from ._layout import (
    Layout,
    check_held,
    check_kinds,
    check_scale,
    check_size,
    check_sizes,
    layout,
    lse_dtype,
    output_shapes,
)
from ._mps import verdict
from ._operation import Operation
from ._transforms import Rule
from .utils.window import Window

Tensors = Sequence[Tensor | None]


_NO_LABEL = nullcontext()


class Prepared:
    """A problem with all decisions made that do not depend on the data."""

    def __init__(
        self,
        op: Operation,
        inputs: Tensors,
        window: Window,
        scale: float | None,
        ragged: bool,
        heads_first: bool,
    ) -> None:
        check_kinds(op, inputs)
        check_scale(scale)
        given = {n: t.shape for n, t in zip(op.inputs, inputs, strict=True) if t is not None}
        first = next(t for t in inputs if t is not None)
        self._layout = sizes = layout(op, given, window, heads_first)
        if not ragged:
            check_held(sizes, window)
        shapes = output_shapes(op, sizes, window, heads_first)
        self.op, self.window, self.scale, self.heads_first = op, window, scale, heads_first
        self.outputs = [
            (shape, lse_dtype(first.dtype) if name == "lse" else first.dtype)
            for name, shape in zip(op.outputs, shapes, strict=True)
        ]
        self._device = first.device
        self._problem = _c_problem(op, sizes, first, window, scale, "rpb" in given, ragged)
        self._sizes_shape = (sizes.batch, len(sizes.lengths))
        self.backend = choose(self._problem, first.device)
        self._auto = backend.choice == "auto"
        self._fresh = True  # the first run of a new plan may find that kernels are refused
        self.plan: _plan.Plan | None = None
        self._backward: _plan.Plan | None = None
        if self.backend != "pure":
            try:
                self.plan = self._make(op.forward, op.inputs + op.outputs)
            except NotImplementedError as refusal:
                self._give_up(refusal)
                self.backend = "pure"

    def _make(self, c_op: int, roles: tuple[str, ...]) -> _plan.Plan:
        problem = self._problem._replace(op=c_op)
        kind = _plan.CheckedPlan if verdict.mode() == "always" else _plan.Plan
        return kind(problem, self.backend, roles, self.heads_first)

    def _look_back(self) -> None:
        """Check for replaced kernels after a plan's first run."""
        self._fresh = False
        if self.backend == "metal":
            warn_of_plainer_kernels()

    def _give_up(self, refusal: NotImplementedError) -> None:
        """Fall back to `pure` if the GPU refuses the problem, unless this backend was requested."""
        if not self._auto:
            raise refusal
        warn_once(f"backend {self.backend!r} cannot compute this problem: {refusal}", "kernels")

    def pure(self, inputs: Tensors, sizes: Tensor | None) -> Any:
        """Compute with PyTorch's own operations."""
        if sizes is not None and not sizes.is_meta:
            self._check_sizes(self.host_sizes(sizes))
        with self._label("", "pure"):
            return self.op.pure(
                *inputs,
                window=self.window,
                scale=self.scale,
                sizes=sizes,
                heads_first=self.heads_first,
            )

    def rule(self) -> Rule:
        """The operation and its non-tensor arguments, for the dispatcher."""
        return Rule(self.op, self.window, self.scale, self.heads_first)

    def host_sizes(self, sizes: Tensor | None) -> Tensor | None:
        """A checked copy of the sizes for the library, safe from changes before backward."""
        if sizes is None:
            return None
        check_sizes(sizes, self._sizes_shape)
        return sizes.detach().to("cpu", torch.int64, copy=True).contiguous()

    def _check_sizes(self, sizes: Tensor | None) -> None:
        """Check sizes for `pure`; the library checks them itself."""
        assert sizes is not None
        for sample, lengths in enumerate(sizes.tolist()):
            for axis, (size, rule) in enumerate(zip(lengths, self._problem.axes, strict=True)):
                check_size(sample, axis, size, rule[1] * rule[2], rule[0])
            check_held(self._layout, self.window, lengths)

    def _label(self, direction: str, name: str | None = None) -> AbstractContextManager[Any]:
        """Label the work for profilers; does nothing if no profiler is running."""
        if not torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
            return _NO_LABEL
        what = f"natten_mps::{self.op.name}{direction}[{name or self.backend}]"
        return torch.autograd.profiler.record_function(what)

    def forward(self, inputs: Tensors, sizes: Tensor | None, first_only: bool = False) -> Any:
        """Run the plan: (out, lse) or the only output; with `first_only`, lse is not computed."""
        assert self.plan is not None
        device = self._device
        wanted = self.outputs[:1] if first_only else self.outputs
        outputs = [torch.empty(shape, dtype=dtype, device=device) for shape, dtype in wanted]
        tensors = (*inputs, *outputs, None) if first_only else (*inputs, *outputs)
        try:
            if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
                with self._label(""):
                    self.plan.run(tensors, sizes)
            else:
                self.plan.run(tensors, sizes)
        except NotImplementedError as refusal:
            self._give_up(refusal)
            _fill(outputs, self.pure(inputs, sizes))
        if self._fresh:
            self._look_back()
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    def backward(
        self,
        inputs: Tensors,
        outputs: Tensors,
        d_outputs: Tensors,
        sizes: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs in `wanted`; None for the others."""
        op = self.op
        grads = tuple(
            torch.empty(t.shape, dtype=t.dtype, device=t.device) if t is not None and want else None
            for t, want in zip(inputs, wanted, strict=True)
        )
        try:
            if self._backward is None:
                results = op.outputs if op.keeps_outputs else ()
                roles = (*op.inputs, *results, *_gradients(op.outputs), *_gradients(op.inputs))
                self._backward = self._make(op.backward, roles)
                self._fresh = True
            with self._label("_backward"):
                self._backward.run((*inputs, *outputs, *d_outputs, *grads), sizes)
        except NotImplementedError as refusal:
            self._give_up(refusal)
            again = first_order(lambda *x: self.pure(x, sizes), inputs, d_outputs, wanted)
            _fill(grads, again)
        if self._fresh:
            self._look_back()
        return grads


def _fill(outputs: Tensors, results: Any) -> None:
    """Copy the results of `pure` into the allocated outputs."""
    several = isinstance(results, (tuple, list))
    for output, result in zip(outputs, results if several else (results,), strict=False):
        if output is not None:
            output.copy_(result)


def _gradients(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("d_" + name for name in names)


def _c_problem(
    op: Operation,
    sizes: Layout,
    first: Tensor,
    window: Window,
    scale: float | None,
    rpb: bool,
    ragged: bool,
) -> _plan.Problem:
    return _plan.Problem(
        op=op.forward,
        dtype=first.dtype,
        memory=_abi.METAL if in_metal_memory(first.device) else _abi.HOST,
        batch=sizes.batch,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        value_dim=sizes.value_dim,
        extra=sizes.extra,
        scale=scale,
        rpb=rpb,
        ragged=ragged,
        mask_first=window.mask_first,
        axes=tuple(zip(sizes.lengths, *window[:5], strict=True)),
        ranges=_c_ranges(sizes, window),
    )


def _c_ranges(sizes: Layout, window: Window) -> tuple[tuple[int, int, int, int], ...]:
    if window.ranges is None:
        return ()
    query, key, _ = window.ranges
    return tuple(zip(query, sizes.queries, key, sizes.keys, strict=True))


#: Maximum number of cached problems; the oldest is dropped first.
CAPACITY = 512
_prepared: dict[tuple[Any, ...], Prepared] = {}
_lock = _lib.fork_safe_lock()


def kinds_of(inputs: Tensors) -> list[Any]:
    """The part of the key of `prepare` that describes tensors: shape, dtype and device, or None."""
    return [None if t is None else (t.shape, t.dtype, _device(t)) for t in inputs]


def _device(tensor: Tensor) -> str | torch.device:
    device = tensor.device
    return device.type if device.type in ("cpu", "mps") else device


def prepare(
    op: Operation,
    inputs: Tensors,
    kinds: Sequence[Any],
    window: Window,
    scale: float | None,
    ragged: bool,
    heads_first: bool,
) -> Prepared:
    """Return the prepared problem for these tensors, from the cache if possible.

    `kinds` is kinds_of(inputs). The cache key contains only immutable values.
    """
    key = (
        op.name,
        backend.choice,
        _lib.forked,
        window,
        scale,
        ragged,
        heads_first,
        *kinds,
    )
    found = _prepared.get(key)
    if found is not None:
        return found
    made = Prepared(op, inputs, window, scale, ragged, heads_first)
    with _lock:
        while len(_prepared) >= CAPACITY:
            del _prepared[next(iter(_prepared))]
        _prepared[key] = made
    return made
