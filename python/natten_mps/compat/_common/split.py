# SPDX-License-Identifier: MIT
"""Split operations, heads first, as the generations up to 0.17 have them.

An eager call goes to :mod:`natten_mps.ops`. Where something looks for upstream's autograd
functions by class name (a tracer that counts operations) or differentiates forward, it goes
through a Function of that name, which wraps the same operation.
"""

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


def observed() -> bool:
    """Whether a call must go through its named autograd function."""
    return torch.jit.is_tracing() or torch.autograd.forward_ad._current_level >= 0


def qk(
    query: Tensor, key: Tensor, rpb: Tensor | None, extra: Tensor | None, where: ops.Window
) -> Tensor:
    """Logits [B, H, axes..., slots] of query and key [B, H, axes..., D]."""
    return ops.qk(query, key, window=where, rpb=rpb, extra_key=extra, heads_first=True)


def av(attn: Tensor, value: Tensor, extra: Tensor | None, where: ops.Window) -> Tensor:
    """Weights [B, H, axes..., slots] applied to value [B, H, axes..., D]."""
    return ops.av(attn, value, window=where, extra_value=extra, heads_first=True)


def record(ctx: Any, compute: Callable[..., Any], inputs: Sequence[Tensor | None]) -> Any:
    """Body of a Function's forward: runs `compute` on the inputs, which must be the Function's
    first arguments, and keeps its graph in ctx."""
    wanted = ctx.needs_input_grad[: len(inputs)]
    inner = [
        None if t is None else t.detach().requires_grad_(want)
        for t, want in zip(inputs, wanted, strict=True)
    ]
    with torch.set_grad_enabled(any(wanted)):
        result = compute(*inner)
    ctx.inner, ctx.result = inner, result
    if isinstance(result, tuple):
        return tuple(t.detach() for t in result)
    return result.detach()


def replay(ctx: Any, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Body of a Function's backward after :func:`record`: gradients of its inputs."""
    results = ctx.result if isinstance(ctx.result, tuple) else (ctx.result,)
    leaves = [t for t in ctx.inner if t is not None and t.requires_grad]
    found = iter(torch.autograd.grad(results, leaves, grads, retain_graph=True, allow_unused=True))
    return [next(found) if t is not None and t.requires_grad else None for t in ctx.inner]


def _function(
    name: str,
    module: str,
    tensors: int,
    compute: Callable[..., Any],
    jvp: Callable[..., Any],
) -> type[torch.autograd.Function]:
    """A Function of that name: `apply(*tensors, *arguments)` is compute(*tensors, *arguments)."""

    def forward(ctx: Any, *arguments: Any) -> Any:
        inputs, ctx.rest = arguments[:tensors], arguments[tensors:]
        ctx.save_for_forward(*inputs)
        return record(ctx, lambda *t: compute(*t, *ctx.rest), inputs)

    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        return (*replay(ctx, grads), *(None for _ in ctx.rest))

    body = {
        "forward": staticmethod(forward),
        "backward": staticmethod(backward),
        "jvp": staticmethod(lambda ctx, *tangents: jvp(ctx, tangents[:tensors])),
        "__module__": module,
        "__doc__": f"{name}.apply, as upstream has it.",
    }
    return type(torch.autograd.Function)(name, (torch.autograd.Function,), body)


def qk_function(
    name: str, module: str, window_of: Callable[..., ops.Window], extra: bool = True
) -> Any:
    """Function `apply(query, key, bias, [additional_keys if extra,] *window arguments)`;
    window_of(rank, *window arguments) makes the window."""

    def compute(query: Tensor, key: Tensor, bias: Tensor | None, *rest: Any) -> Tensor:
        tokens, rest = (rest[0], rest[1:]) if extra else (None, rest)
        return qk(query, key, bias, tokens, window_of(query.dim() - 3, *rest))

    def jvp(ctx: Any, tangents: Sequence[Tensor | None]) -> Tensor:
        query, key, bias, *tokens = ctx.saved_tensors
        if bias is not None:
            raise ValueError(
                "Positional biases are currently not supported in forward mode autodiff."
            )
        d_query, d_key, _, *d_tokens = tangents
        where = window_of(query.dim() - 3, *ctx.rest)
        return _bilinear_jvp(
            lambda q, k, extra=None: qk(q, k, None, extra, where),
            where,
            (query, key, *tokens),
            (d_query, d_key, *d_tokens),
        )

    return _function(name, module, 4 if extra else 3, compute, jvp)


def av_function(
    name: str, module: str, window_of: Callable[..., ops.Window], extra: bool = True
) -> Any:
    """Function `apply(attn, value, [additional_values if extra,] *window arguments)`."""

    def compute(attn: Tensor, value: Tensor, *rest: Any) -> Tensor:
        tokens, rest = (rest[0], rest[1:]) if extra else (None, rest)
        return av(attn, value, tokens, window_of(value.dim() - 3, *rest))

    def jvp(ctx: Any, tangents: Sequence[Tensor | None]) -> Tensor:
        primals = ctx.saved_tensors
        where = window_of(primals[1].dim() - 3, *ctx.rest)
        return _bilinear_jvp(
            lambda a, v, extra=None: av(a, v, extra, where), where, primals, tangents
        )

    return _function(name, module, 3 if extra else 2, compute, jvp)


def _bilinear_jvp(
    compute: Callable[..., Tensor],
    where: ops.Window,
    primals: Sequence[Tensor | None],
    tangents: Sequence[Tensor | None],
) -> Tensor:
    """Tangent of compute(left, *right), linear in left and in right."""
    if any(where.causal):
        raise ValueError(
            "Causal neighborhood attention doesn't support forward mode auto-diff yet."
        )
    d_left, *d_right = (
        torch.zeros_like(primal) if tangent is None and primal is not None else tangent
        for primal, tangent in zip(primals, tangents, strict=True)
    )
    left, *right = primals
    return compute(d_left, *right) + compute(left, *d_right)
