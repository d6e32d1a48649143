# SPDX-License-Identifier: MIT
"""Split operations of the generations up to 0.17, heads first.

A call goes to :mod:`natten_mps.ops`. If a trace is read for the names in it, as operation counters
do, the call goes through an autograd function with upstream's name around the same operation. A
trace with such a function cannot be saved or exported.
"""

import inspect
import sys
import types
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from natten_mps import ops

Ints = tuple[int, ...]
Bools = tuple[bool, ...]

_READ = torch.jit._trace.ONNXTracedModule.forward.__code__


def window(
    kernel: Ints, dilation: Ints, causal: Bools | None = None, stride: Ints | None = None
) -> ops.Window:
    """A window with one query per key position."""
    ones = (1,) * len(kernel)
    return ops.Window(
        kernel=kernel,
        dilation=dilation,
        stride=ones if stride is None else stride,
        query_step=ones,
        causal=(False,) * len(kernel) if causal is None else causal,
    )


def traced() -> bool:
    """Whether the autograd function's name has to appear in the trace: inside the function that
    operation counters use to get traces. The old ONNX exporter calls it too, and is excluded."""
    if torch._C._get_tracing_state() is None or torch.onnx.is_in_onnx_export():
        return False
    frame: Any = sys._getframe()
    while frame is not None and frame.f_code is not _READ:
        frame = frame.f_back
    return frame is not None


def check_heads(query: Tensor, key: Tensor, dim: int) -> None:
    """Requires equal numbers of heads in dimension `dim`: up to 0.17, queries are not grouped."""
    if query.dim() == key.dim() and query.shape[dim] != key.shape[dim]:
        raise RuntimeError(
            f"Tensor shape mismatch at dimension {dim % query.dim()}: "
            f"{query.shape[dim]} != {key.shape[dim]}"
        )


def qk(
    query: Tensor, key: Tensor, rpb: Tensor | None, extra: Tensor | None, where: ops.Window
) -> Tensor:
    """Logits [B, H, axes..., slots] of query and key [B, H, axes..., D]."""
    return ops.qk(query, key, window=where, rpb=rpb, extra_key=extra, heads_first=True)


def av(attn: Tensor, value: Tensor, extra: Tensor | None, where: ops.Window) -> Tensor:
    """Weights [B, H, axes..., slots] applied to value [B, H, axes..., D]."""
    return ops.av(attn, value, window=where, extra_value=extra, heads_first=True)


def _record(ctx: Any, compute: Callable[..., Any], inputs: Sequence[Tensor | None]) -> Any:
    """Runs `compute` and saves its graph in ctx. The inputs are apply's first arguments."""
    # A tracer needs the operation without its gradient, and cannot trace nested functions.
    recorded = torch._C._get_tracing_state() is not None
    wanted = [need and not recorded for need in ctx.needs_input_grad[: len(inputs)]]
    inner = [
        None if t is None else t.detach().requires_grad_(want)
        for t, want in zip(inputs, wanted, strict=True)
    ]
    with torch.set_grad_enabled(any(wanted)):
        result = compute(*inner)
    results = result if isinstance(result, tuple) else (result,)
    ctx.inner, ctx.results = inner, results
    detached = tuple(t.detach() for t in results)
    return detached if isinstance(result, tuple) else detached[0]


def _replay(ctx: Any, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients of the inputs of :func:`_record`."""
    leaves = [t for t in ctx.inner if t is not None and t.requires_grad]
    found = iter(
        torch.autograd.grad(ctx.results, leaves, grads, retain_graph=True, allow_unused=True)
    )
    return [next(found) if t is not None and t.requires_grad else None for t in ctx.inner]


_TENSORS = ("query", "key", "value", "attn", "rpb", "bias", "additional_key", "additional_value")


def named_function(name: str, module: str, compute: Callable[..., Any]) -> Any:
    """A Function with that name whose `apply(*arguments)` is compute(*arguments), tensors first.
    `with_compute` returns a Function with the same name and another `compute`."""
    tensors = sum(parameter in _TENSORS for parameter in inspect.signature(compute).parameters)

    def forward(ctx: Any, *arguments: Any) -> Any:
        ctx.others = len(arguments) - tensors
        return _record(
            ctx, lambda *inputs: compute(*inputs, *arguments[tensors:]), arguments[:tensors]
        )

    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        return (*_replay(ctx, grads), *(None,) * ctx.others)

    body = {
        "forward": staticmethod(forward),
        "backward": staticmethod(backward),
        "compute": staticmethod(compute),
        "with_compute": staticmethod(partial(named_function, name, module)),
        "__module__": module,
        "__doc__": f"{name}.apply, as upstream has it.",
    }
    return types.new_class(
        name, (torch.autograd.Function,), exec_body=lambda namespace: namespace.update(body)
    )
