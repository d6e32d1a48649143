# SPDX-License-Identifier: MIT
"""Compiles every kind of kernel, by the library as in its plans, and by torch to get limits."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from math import prod
from typing import Any

import torch

from .. import _abi, _operation, _plan, backend
from .._choose import PLAINER
from .._mps import launcher
from .._mps.device import carrier
from .._operation import Operation

#: Memory layouts of tensors: aligned to 16 bytes, at odd elements, and so large that offsets need
#: 64 bits.
LAYOUTS = ("aligned", "unaligned", "wide")
#: Windows by rank, including windows with 100 slots, the threshold for other kernels.
_KERNELS = {"small": {1: 3, 2: 3, 3: 3}, "large": {1: 101, 2: 11, 3: 5}}
_DIM = 64


def kernels() -> list[tuple[str, Callable[[], dict[str, Any]]]]:
    """Names, and functions that compile the kernels of a plan."""
    return [
        (name, partial(_compile, *what))
        for dtype in (torch.float32, torch.float16, torch.bfloat16)
        for name, what in _plans(dtype)
    ]


def _plans(dtype: torch.dtype) -> Iterator[tuple[str, tuple[Any, ...]]]:
    short = str(dtype).removeprefix("torch.")
    for op in (_operation.ATTN, _operation.QK, _operation.AV):
        fused = op is _operation.ATTN
        for rank in (1, 2, 3) if fused else (2,):
            for size in _KERNELS if fused else ("small",):
                for rpb in (False, True) if "rpb" in op.inputs else (False,):
                    for layout in LAYOUTS if rank == 2 else LAYOUTS[:1]:
                        for backward in (False, True):
                            name = f"{op.name}{'_backward' if backward else ''} {short} {rank}-D"
                            name += f" {size}{' rpb' if rpb else ''} {layout}"
                            yield name, (op, backward, dtype, rank, size, rpb, layout)


def _compile(
    op: Operation,
    backward: bool,
    dtype: torch.dtype,
    rank: int,
    size: str,
    rpb: bool,
    layout: str,
) -> dict[str, Any]:
    """Compile a plan's kernels; raises RuntimeError with the compiler's message."""
    kernel = _KERNELS[size][rank]
    problem = _plan.Problem(
        op=op.backward if backward else op.forward,
        dtype=dtype,
        memory=_abi.METAL,
        batch=1,
        heads=2,
        kv_heads=1 if rpb else 2,
        head_dim=_DIM,
        value_dim=_DIM,
        extra=2 if rpb else 0,
        scale=None,
        rpb=rpb,
        ragged=False,
        mask_first=False,
        axes=((kernel + 4, kernel, 1, 1, 1, False),) * rank,
    )
    started = time.perf_counter()
    plan = _plan.Plan(problem, "metal", (), False)
    names = launcher.functions(plan.handle, _args(op, backward, problem, layout))
    seconds = time.perf_counter() - started
    _, replaced, why = backend.details("metal").partition(PLAINER)
    if replaced and why not in _known_refusals:
        _known_refusals.add(why)
        raise RuntimeError(why)
    functions = {name.decode(): _limits(launcher.source(plan.handle, name), name) for name in names}
    return {"plan_ms": round(1e3 * seconds, 1), "functions": functions}


_known_refusals: set[str] = set()


def _limits(source: str, function: bytes) -> dict[str, Any]:
    """Compile time with torch in ms, maxTotalThreadsPerThreadgroup and threadExecutionWidth."""
    return _limits_of(function, source) if carrier().has_shaders() else {}


@cache
def _limits_of(function: bytes, source: str) -> dict[str, Any]:
    started = time.perf_counter()
    kernel = getattr(carrier().compile_shader(source), function.decode())
    found: dict[str, Any] = {"ms": round(1e3 * (time.perf_counter() - started), 1)}
    for name in ("max_threads_per_threadgroup", "thread_execution_width"):
        found[name] = getattr(kernel, name, None)
    return found


def _args(op: Operation, backward: bool, problem: _plan.Problem, layout: str) -> bytes:
    """Packed arguments for tensors with a memory layout; the tensors are never accessed."""
    args = _abi.new(_abi.Args)
    names: Sequence[str] = (*op.inputs, *op.outputs)
    if backward:
        names = (*names, *(f"d_{name}" for name in names))
    for role in names:
        plain = role.removeprefix("d_")
        if (plain == "rpb" and not problem.rpb) or ("extra" in plain and not problem.extra):
            continue
        shape = _shape(plain, problem)
        tensor = getattr(args, role)
        tensor.data = 1 << 20
        size = 4 if plain == "lse" else problem.dtype.itemsize
        tensor.offset = size if layout == "unaligned" else 0
        for i in range(len(shape)):
            tensor.strides[i] = prod(shape[i + 1 :])
        if layout == "wide" and "extra" not in plain and plain != "rpb":
            tensor.strides[1] = 1 << 30
    return bytes(args)


def _shape(role: str, problem: _plan.Problem) -> tuple[int, ...]:
    lengths = [axis[0] for axis in problem.axes]
    window = prod(axis[1] for axis in problem.axes)
    heads = problem.kv_heads if role in ("key", "value") else problem.heads
    if role == "rpb":
        return (problem.heads, *(2 * axis[1] - 1 for axis in problem.axes))
    if role.startswith("extra"):
        return (1, problem.extra, problem.kv_heads, _DIM)
    last = {"lse": (), "attn": (window + problem.extra,)}.get(role, (_DIM,))
    return (1, *lengths, heads, *last)


__all__ = ["LAYOUTS", "kernels"]
