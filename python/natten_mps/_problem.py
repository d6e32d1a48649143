# SPDX-License-Identifier: MIT
"""From tensors to a prepared problem: checks, output shapes, choice of backend, the cache."""

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import isfinite, prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _abi, _lib, _mps, _plan, backend, pure
from ._log import logger
from .utils.window import Window

Tensors = Sequence[Tensor | None]
Shape = tuple[int, ...]


class Operation(NamedTuple):
    """One of the three operations; names are those of the header's tensors."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    forward: int
    backward: int
    keeps_outputs: bool  # whether backward reads the outputs
    pure: Callable[..., Any]


ATTN = Operation(
    "attn",
    ("query", "key", "value", "rpb", "extra_key", "extra_value"),
    ("out", "lse"),
    _abi.ATTN_FORWARD,
    _abi.ATTN_BACKWARD,
    True,
    pure.attn,
)
QK = Operation(
    "qk",
    ("query", "key", "rpb", "extra_key"),
    ("attn",),
    _abi.QK_FORWARD,
    _abi.QK_BACKWARD,
    False,
    pure.qk,
)
AV = Operation(
    "av",
    ("attn", "value", "extra_value"),
    ("out",),
    _abi.AV_FORWARD,
    _abi.AV_BACKWARD,
    False,
    pure.av,
)


class Layout(NamedTuple):
    """Sizes of a problem, read off its tensors' shapes."""

    batch: int
    lengths: Shape
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    extra: int


def _split(shape: Shape, heads_first: bool) -> tuple[int, Shape, int, int]:
    """Batch, token layout, heads and last dimension of a tensor."""
    if heads_first:
        return shape[0], tuple(shape[2:-1]), shape[1], shape[-1]
    return shape[0], tuple(shape[1:-2]), shape[-2], shape[-1]


def outputs_of(lengths: Shape, window: Window) -> Shape:
    """Number of computed queries along each axis."""
    return tuple(-(-n // step) for n, step in zip(lengths, window.query_step, strict=True))


def _must(good: bool, text: Callable[[], str]) -> None:
    """`text` is called only on failure: formatting would fix the sizes that are traced."""
    if not good:
        raise ValueError(text())


def layout(op: Operation, shapes: Mapping[str, Shape], window: Window, heads_first: bool) -> Layout:
    """Read the sizes of a problem, checking that the shapes fit one another and the window."""
    rank = len(window.kernel)
    for name, shape in shapes.items():
        dims = 4 if name.startswith("extra") else rank + (1 if name == "rpb" else 3)
        if len(shape) != dims:
            raise ValueError(
                f"{name} has shape {tuple(shape)} (want {dims} dimensions for a {rank}-D problem)"
            )
    keys = shapes["key" if op is not AV else "value"]
    batch, lengths, kv_heads, dim = _split(keys, heads_first)
    head_dim = value_dim = dim
    if op is ATTN:
        value_dim = shapes["value"][-1]
        _same("value", shapes["value"][:-1], "key", keys[:-1])
    rows, positions, heads, row = _split(shapes[op.inputs[0]], heads_first)
    extra = _extra(op, shapes, batch, kv_heads, (head_dim, value_dim), heads_first)
    wanted = lengths if op is not AV else outputs_of(lengths, window)
    width = head_dim if op is not AV else prod(window.kernel) + extra
    _same(op.inputs[0], (rows, *positions, row), f"that of {op.inputs[1]}", (batch, *wanted, width))
    _must(
        kv_heads >= 1 and heads >= 1 and heads % kv_heads == 0,
        lambda: f"{op.inputs[0]} has {heads} heads, which {kv_heads} key/value heads do not divide",
    )
    if "rpb" in shapes:
        _same("rpb", shapes["rpb"], "the window", (heads, *(2 * k - 1 for k in window.kernel)))
    _check_window(window, lengths)
    return Layout(batch, lengths, heads, kv_heads, head_dim, value_dim, extra)


def _same(name: str, got: Shape, other: str, want: Shape) -> None:
    _must(
        tuple(got) == tuple(want),
        lambda: f"{name} has sizes {tuple(got)}, which do not fit {other} (want {tuple(want)})",
    )


def _extra(
    op: Operation, shapes: Mapping[str, Shape], batch: int, kv_heads: int, dims: Shape, first: bool
) -> int:
    """Number of extra tokens."""
    given = [name for name in ("extra_key", "extra_value") if name in shapes]
    if not given:
        return 0
    _must(
        op is not ATTN or len(given) == 2, lambda: f"{given[0]} is given alone (want both or none)"
    )
    tokens = shapes[given[0]][2 if first else 1]
    for name in given:
        dim = dims[0] if name == "extra_key" else dims[1]
        want = (batch, kv_heads, tokens, dim) if first else (batch, tokens, kv_heads, dim)
        _same(name, shapes[name], "the keys and values", want)
    return tokens


def _check_window(window: Window, lengths: Shape) -> None:
    for name, values in zip(Window._fields[:4], window[:4], strict=True):
        if min(values) < 1:
            raise ValueError(f"{name} is {values} (want >= 1 on every axis)")
    for axis, (kernel, dilation, stride, length) in enumerate(
        zip(*window[:3], lengths, strict=True)
    ):
        if kernel * dilation > length:
            raise ValueError(
                f"kernel {kernel} * dilation {dilation} exceeds length {length} on axis {axis}"
                " (want kernel * dilation <= length)"
            )
        if stride > kernel:
            raise ValueError(f"stride {stride} exceeds kernel {kernel} on axis {axis}")


def output_shapes(op: Operation, sizes: Layout, window: Window, heads_first: bool) -> list[Shape]:
    """Shapes of the outputs, in the layout of the inputs."""
    spatial = outputs_of(sizes.lengths, window)
    last = sizes.value_dim if op is not QK else prod(window.kernel) + sizes.extra
    if heads_first:
        first = (sizes.batch, sizes.heads, *spatial)
    else:
        first = (sizes.batch, *spatial, sizes.heads)
    return [(*first, last), first] if op is ATTN else [(*first, last)]


def lse_dtype(dtype: torch.dtype) -> torch.dtype:
    """Element type of lse and of sums."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_kinds(op: Operation, inputs: Tensors) -> None:
    """Refuse tensors of different or unsupported dtypes, and of different devices."""
    given = [(n, t) for n, t in zip(op.inputs, inputs, strict=True) if t is not None]
    first_name, first = given[0]
    for name, t in given:
        if t.dtype != first.dtype:
            raise ValueError(
                f"{first_name} is {first.dtype} but {name} is {t.dtype} (want one dtype)"
            )
        if t.device != first.device:
            raise ValueError(
                f"{first_name} is on {first.device} but {name} is on {t.device} (want one device)"
            )
    if first.dtype not in _plan.DTYPES:
        known = ", ".join(str(d) for d in _plan.DTYPES)
        raise NotImplementedError(f"{first_name} is {first.dtype} (want one of {known})")


def check_scale(scale: float | None) -> None:
    """Refuse a scale that would make every logit NaN."""
    _must(scale is None or isfinite(scale), lambda: f"scale is {scale} (want a finite number)")


_NO_LABEL = nullcontext()


class Prepared:
    """A problem with every decision taken that does not depend on the data."""

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
        sizes = layout(op, given, window, heads_first)
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
        self.plan = (
            None if self.backend == "pure" else self._plan(op.forward, op.inputs + op.outputs)
        )
        self._backward: _plan.Plan | None = None

    def _plan(self, c_op: int, roles: tuple[str, ...]) -> _plan.Plan:
        problem = self._problem._replace(op=c_op)
        return _plan.Plan(problem, self.backend, roles, self.heads_first)

    def pure(self, inputs: Tensors, sizes: Tensor | None) -> Any:
        """The operation in PyTorch's own operations."""
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

    def host_sizes(self, sizes: Tensor | None) -> Tensor | None:
        """A checked copy of the sizes, for the library, which nobody changes before backward."""
        if sizes is None:
            return None
        _same("sizes", sizes.shape, "batch and rank", self._sizes_shape)
        _must(
            not (sizes.is_floating_point() or sizes.is_complex()),
            lambda: f"sizes is {sizes.dtype} (want integers)",
        )
        return sizes.detach().to("cpu", torch.int64, copy=True).contiguous()

    def _check_sizes(self, sizes: Tensor | None) -> None:
        """What the library checks itself."""
        assert sizes is not None
        for sample, lengths in enumerate(sizes.tolist()):
            for axis, (size, rule) in enumerate(zip(lengths, self._problem.axes, strict=True)):
                least, most = rule[1] * rule[2], rule[0]
                if not least <= size <= most:
                    raise ValueError(
                        f"size {size} of sample {sample} on axis {axis} (want kernel * dilation ="
                        f" {least} to length {most})"
                    )

    def _label(self, direction: str, name: str | None = None) -> AbstractContextManager[Any]:
        """Names the work in profiles; nothing where no profiler runs."""
        if not torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
            return _NO_LABEL
        what = f"natten_mps::{self.op.name}{direction}[{name or self.backend}]"
        return torch.autograd.profiler.record_function(what)

    def forward(self, inputs: Tensors, sizes: Tensor | None, first_only: bool = False) -> Any:
        """Run the plan: (out, lse), or the only output; with `first_only` no lse is computed."""
        assert self.plan is not None
        device = self._device
        wanted = self.outputs[:1] if first_only else self.outputs
        outputs = [torch.empty(shape, dtype=dtype, device=device) for shape, dtype in wanted]
        tensors = (*inputs, *outputs, None) if first_only else (*inputs, *outputs)
        if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
            with self._label(""):
                self.plan.run(tensors, sizes)
        else:
            self.plan.run(tensors, sizes)
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    def backward(
        self,
        inputs: Tensors,
        outputs: Tensors,
        d_outputs: Tensors,
        sizes: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs that are wanted, None for the others."""
        op = self.op
        if self._backward is None:
            results = op.outputs if op.keeps_outputs else ()
            roles = (*op.inputs, *results, *_gradients(op.outputs), *_gradients(op.inputs))
            self._backward = self._plan(op.backward, roles)
        grads = tuple(
            _empty_like(t) if t is not None and want else None
            for t, want in zip(inputs, wanted, strict=True)
        )
        with self._label("_backward"):
            self._backward.run((*inputs, *outputs, *d_outputs, *grads), sizes)
        return grads


def _gradients(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("d_" + name for name in names)


def _empty_like(tensor: Tensor) -> Tensor:
    """Uninitialised, of the tensor's layout where that has a dense last dimension."""
    like = torch.empty_like(tensor)
    if like.stride(-1) == 1:
        return like
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


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
        memory=_abi.METAL if _in_metal_memory(first.device) else _abi.HOST,
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
    )


def _in_metal_memory(device: torch.device) -> bool:
    return device.type == "mps" or (backend.choice == "metal" and _mps.plays(device))


def choose(problem: _plan.Problem, device: torch.device) -> str:
    """The backend that computes a problem: the chosen one, or with "auto" the first that takes it,
    which is `pure` where the library has none. Meta tensors have only shapes, for `pure` to give.
    """
    chosen = backend.choice
    if chosen == "pure" or device.type == "meta":
        return "pure"
    if chosen != "auto":
        against = _against(problem, device, chosen)
        if against is not None:
            raise NotImplementedError(f"backend {chosen!r} does not take this problem: {against}")
        return chosen
    best = {"cpu": "native", "mps": "metal"}.get(device.type)
    if best is None:
        against = f"no backend but 'pure' computes on {device.type}"
    else:
        try:
            against = _against(problem, device, best)
        except _lib.ForkedError as error:
            against = str(error)
            _warn_forked(against)
    if against is None and best is not None:
        return best
    logger.info("pure computes %s: %s", problem, against)
    return "pure"


def _against(problem: _plan.Problem, device: torch.device, name: str) -> str | None:
    if device.type not in ("cpu", "mps"):
        return f"tensors are on {device.type} (want cpu or mps)"
    if all(b["name"] != name for b in _lib.backends()):
        return backend.details(name)
    against = _plan.reasons_against(problem, name)
    if against is None and problem.memory == _abi.METAL and _mps.choice().stream is None:
        return _mps.choice().why_not()
    return against


_warned = False


def _warn_forked(text: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f"natten_mps computes with 'pure' in this process: {text}", stacklevel=2)


#: How many problems stay prepared; the oldest is dropped first.
CAPACITY = 512
_prepared: dict[tuple[Any, ...], Prepared] = {}
_lock = threading.Lock()


def prepare(
    op: Operation,
    inputs: Tensors,
    window: Window,
    scale: float | None,
    ragged: bool,
    heads_first: bool,
) -> Prepared:
    """The prepared problem of these tensors, from the cache if it is there."""
    key = (
        op.name,
        backend.choice,
        _lib.forked,
        window,
        scale,
        ragged,
        heads_first,
        *[None if t is None else (t.shape, t.dtype, t.device) for t in inputs],
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
