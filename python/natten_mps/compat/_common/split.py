# SPDX-License-Identifier: MIT
"""Split operations, heads first, as the generations up to 0.17 have them.

A call goes to :mod:`natten_mps.ops`, and while a trace is recorded through an autograd
function of upstream's name round the same operation, because counters of operations look
for these names.
"""

import types
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from natten_mps import ops

Ints = tuple[int, ...]
Bools = tuple[bool, ...]


def window(
    kernel: Ints, dilation: Ints, causal: Bools | None = None, stride: Ints | None = None
) -> ops.Window:
    """A window whose queries are the keys' positions."""
    ones = (1,) * len(kernel)
    return ops.Window(
        kernel=kernel,
        dilation=dilation,
        stride=ones if stride is None else stride,
        query_step=ones,
        causal=(False,) * len(kernel) if causal is None else causal,
    )


def traced() -> bool:
    """Whether a call must show the name of its autograd function."""
    return torch._C._get_tracing_state() is not None


def qk(
    query: Tensor, key: Tensor, rpb: Tensor | None, extra: Tensor | None, where: ops.Window
) -> Tensor:
    """Logits [B, H, axes..., slots] of query and key [B, H, axes..., D]."""
    return ops.qk(query, key, window=where, rpb=rpb, extra_key=extra, heads_first=True)


def av(attn: Tensor, value: Tensor, extra: Tensor | None, where: ops.Window) -> Tensor:
    """Weights [B, H, axes..., slots] applied to value [B, H, axes..., D]."""
    return ops.av(attn, value, window=where, extra_value=extra, heads_first=True)


def _record(ctx: Any, compute: Callable[..., Any], inputs: Sequence[Tensor | None]) -> Any:
    """Runs `compute` and keeps its graph in ctx. The inputs are apply's first arguments."""
    # A tracer wants the operation, not its gradient, and cannot see a function in a function.
    wanted = [False if traced() else need for need in ctx.needs_input_grad[: len(inputs)]]
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


def named_function(
    name: str, module: str, tensors: int, compute: Callable[..., Any]
) -> type[torch.autograd.Function]:
    """A Function of that name: `apply(*tensors, *arguments)` is compute(*tensors, *arguments)."""

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
        "__module__": module,
        "__doc__": f"{name}.apply, as upstream has it.",
    }
    made: type[torch.autograd.Function] = types.new_class(
        name, (torch.autograd.Function,), exec_body=lambda namespace: namespace.update(body)
    )
    return made


def qk_function(
    name: str, module: str, window_of: Callable[..., ops.Window], extra: bool = True
) -> Any:
    """Function `apply(query, key, bias, [additional_keys if extra,] *window arguments)`;
    window_of(rank, *window arguments) makes the window."""

    def compute(query: Tensor, key: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        tokens, rest = (rest[0], rest[1:]) if extra else (None, rest)
        return qk(query, key, bias, tokens, window_of(query.dim() - 3, *rest))

    return named_function(name, module, 4 if extra else 3, compute)


def av_function(
    name: str, module: str, window_of: Callable[..., ops.Window], extra: bool = True
) -> Any:
    """Function `apply(attn, value, [additional_values if extra,] *window arguments)`."""

    def compute(attn: Tensor, value: Tensor, *rest: Any) -> Tensor:
        tokens, rest = (rest[0], rest[1:]) if extra else (None, rest)
        return av(attn, value, tokens, window_of(value.dim() - 3, *rest))

    return named_function(name, module, 3 if extra else 2, compute)
