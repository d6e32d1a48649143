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


def qk_forward(
    ctx: Any,
    query: Tensor,
    key: Tensor,
    rpb: Tensor | None,
    extra: Tensor | None,
    where: ops.Window,
) -> Any:
    """Forward of a named function whose first arguments are the tensors here, in this order.
    Functions without `extra` have its place in ctx.needs_input_grad taken by an int."""
    ctx.where, ctx.has_bias = where, rpb is not None
    ctx.save_for_forward(query, key, extra)
    return record(ctx, lambda *tensors: qk(*tensors, where), (query, key, rpb, extra))


def av_forward(
    ctx: Any, attn: Tensor, value: Tensor, extra: Tensor | None, where: ops.Window
) -> Any:
    """As :func:`qk_forward`, for weights and values."""
    ctx.where = where
    ctx.save_for_forward(attn, value, extra)
    return record(ctx, lambda *tensors: av(*tensors, where), (attn, value, extra))


def qk_jvp(ctx: Any, d_query: Tensor | None, d_key: Tensor | None, d_extra: Tensor | None) -> Any:
    """Tangent of the logits. Raises ValueError where upstream has no forward mode."""
    if ctx.has_bias:
        raise ValueError("Positional biases are currently not supported in forward mode autodiff.")
    _refuse_causal(ctx.where)
    return _bilinear_jvp(lambda q, k, extra: qk(q, k, None, extra, ctx.where), ctx, d_query, d_key,
                         d_extra)  # fmt: skip


def av_jvp(ctx: Any, d_attn: Tensor | None, d_value: Tensor | None, d_extra: Tensor | None) -> Any:
    """Tangent of the weighted sums."""
    _refuse_causal(ctx.where)
    return _bilinear_jvp(lambda a, v, extra: av(a, v, extra, ctx.where), ctx, d_attn, d_value,
                         d_extra)  # fmt: skip


def _refuse_causal(where: ops.Window) -> None:
    if any(where.causal):
        raise ValueError(
            "Causal neighborhood attention doesn't support forward mode auto-diff yet."
        )


def _bilinear_jvp(
    compute: Callable[..., Tensor],
    ctx: Any,
    d_left: Tensor | None,
    d_right: Tensor | None,
    d_extra: Tensor | None,
) -> Tensor:
    """Tangent of compute(left, right, extra), linear in left and in (right, extra)."""
    left, right, extra = ctx.saved_tensors
    zeros = [
        torch.zeros_like(primal) if tangent is None and primal is not None else tangent
        for primal, tangent in ((left, d_left), (right, d_right), (extra, d_extra))
    ]
    return compute(zeros[0], right, extra) + compute(left, zeros[1], zeros[2])
