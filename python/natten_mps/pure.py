# SPDX-License-Identifier: MIT
"""Every operation in plain PyTorch: gather the keys of each window, then use matrix products.

One implementation covers 1 to 3 axes and all features, and is differentiable by autograd to any
order. It is the oracle of the tests, the fallback if the library does not support a problem, and
the baseline of benchmarks. Sums are in float32 (float64 for float64).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from ._kept import Kept
from .utils.window import Window

Function = TypeVar("Function", bound=Callable[..., Any])


@contextmanager
def unrecorded() -> Iterator[bool]:
    """Hide the enclosed operations from torch.jit.trace. Yields whether it is recording."""
    state = torch._C._get_tracing_state()
    if state is None:
        yield False
        return
    torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
    try:
        yield True
    finally:
        torch._C._set_tracing_state(state)  # type: ignore[attr-defined]


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """The sizes as integers, even while torch.jit.trace records them as tensors."""
    with unrecorded():
        return tensor.shape


def _batch_of(tensor: Tensor) -> int:
    """The batch size for a reshape; -1 in a recorded trace, so that it accepts any batch."""
    with unrecorded() as recorded:
        return -1 if recorded else tensor.shape[0]


class Table(NamedTuple):
    """The key of each query's window slots. S is 1, or the batch if sample sizes differ."""

    key: Tensor  # [S, queries, slots] flat index of the key
    visible: Tensor | None  # [S, queries, slots], False at padding; None: all are visible
    bias: Tensor  # [S, queries, slots] flat index into the relative position bias
    padding: Tensor | None  # [S, queries]; None: no query is padding


class _AxisTable(NamedTuple):
    key: Tensor
    visible: Tensor
    bias: Tensor
    padding: Tensor


def window_start(window: Window, axis: int, position: Tensor, group: Tensor) -> Tensor:
    """First key of the windows of queries at `position`, in dilation groups of `group` tokens.
    Positions are within the group, and negative where a causal window starts before it."""
    kernel, stride = window.kernel[axis], window.stride[axis]
    first = position if stride == 1 else position - position % stride
    if window.causal[axis]:
        return torch.minimum(first + stride - 1, group - 1) - kernel + 1
    leader = torch.minimum(first + stride // 2, group - 1)
    return torch.minimum(_at_least_0(leader - kernel // 2), group - kernel)


def _at_least_0(numbers: Tensor) -> Tensor:
    """clamp(min=0), which some exporters convert to floating point."""
    return torch.maximum(numbers, torch.zeros_like(numbers))


class Held(NamedTuple):
    """Positions of the queries and keys that the tensors hold along each axis."""

    queries: tuple[int, ...]
    keys: tuple[int, ...]


def _axis_table(
    window: Window, axis: int, held: Held, sizes: Tensor | None, device: torch.device
) -> _AxisTable:
    """The window rule of natten_mps_axis along one axis, for queries [S, queries, 1]; `sizes` is
    the length of each sample, [S, 1, 1]. Padding gets the window of the last query."""
    kernel, dilation = window.kernel[axis], window.dilation[axis]
    keys_held = held.keys[axis]
    first, first_key, length = 0, 0, keys_held
    if window.ranges is not None:
        first, first_key, length = (part[axis] for part in window.ranges)
    size = length if sizes is None else sizes
    end = first + held.queries[axis]
    index = torch.arange(first, end, window.query_step[axis], device=device)[None, :, None]
    query = torch.minimum(index, size - 1) if isinstance(size, Tensor) else index
    residue = query % dilation
    # Some exporters do not support integer division, so the common case avoids it.
    position = query if dilation == 1 else query // dilation
    group = (size - residue + dilation - 1) // dilation if dilation > 1 else size - residue
    start = window_start(window, axis, position, group)
    slot = torch.arange(kernel, device=device)
    if window.causal[axis]:
        low = _at_least_0(start)
        keys = (start if window.mask_first else low) + slot
        visible = (keys >= low) & (keys <= position)
    else:
        keys = start + slot
        visible = torch.ones_like(keys, dtype=torch.bool)
    keys = torch.minimum(_at_least_0(keys), group - 1)
    bias = _at_least_0(keys - position + kernel - 1)
    bias = torch.minimum(bias, torch.full_like(bias, 2 * kernel - 2))
    place = residue + keys * dilation
    if window.ranges is not None:  # invisible keys need not be in the tensors
        place = torch.clamp(place - first_key, 0, keys_held - 1)
    return _AxisTable(place, visible, bias, (index >= size).squeeze(-1))


def _outer(
    parts: list[Tensor], combine: Callable[[Tensor, Tensor], Tensor], trailing: int
) -> Tensor:
    """Combine per-axis [S, n, (k)] tensors into [S, n0*n1.., (k0*k1..)], row-major."""
    rank = len(parts)
    total = None
    for axis, part in enumerate(parts):
        shape = [part.shape[0]] + [1] * (rank * (1 + trailing))
        for i in range(1 + trailing):
            shape[1 + i * rank + axis] = part.shape[1 + i]
        part = part.reshape(shape)
        total = part if total is None else combine(total, part)
    assert total is not None
    flat = [math.prod(total.shape[1 + i * rank : 1 + (i + 1) * rank]) for i in range(1 + trailing)]
    return total.reshape(total.shape[0], *flat)


def _flat_index(parts: list[Tensor], lengths: tuple[int, ...]) -> Tensor:
    steps = [math.prod(lengths[axis + 1 :]) for axis in range(len(lengths))]
    return _outer([p * step for p, step in zip(parts, steps, strict=True)], torch.add, 1)


def _build(held: Held, window: Window, sizes: Tensor | None, device: torch.device) -> Table:
    axes = [
        _axis_table(window, a, held, None if sizes is None else sizes[:, a, None, None], device)
        for a in range(len(held.keys))
    ]
    biases = tuple(2 * kernel - 1 for kernel in window.kernel)
    visible = _outer([a.visible for a in axes], torch.logical_and, 1)
    padding = None
    if sizes is not None:
        padding = _outer([a.padding for a in axes], torch.logical_or, 0)
        visible = visible & ~padding[..., None]
    return Table(
        key=_flat_index([a.key for a in axes], held.keys),
        visible=visible if any(window.causal) or sizes is not None else None,
        bias=_flat_index([a.bias for a in axes], biases),
        padding=padding,
    )


def _table_bytes(table: Table) -> int:
    return sum(t.nbytes for t in table if t is not None)


#: Recently used tables. 64 x 64 tokens with 7 x 7 windows take 3.2 MB.
_tables = Kept[Table](64 << 20, _table_bytes)


def _cached_table(held: Held, window: Window, device: torch.device) -> Table:
    def make() -> Table:
        with torch.inference_mode(False):  # otherwise autograd could not save the table
            return _build(held, window, None, device)

    return _tables.get((held, window, device), make)


def _traced() -> bool:
    """Whether new tensors may be symbolic, and therefore must not be cached."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def _table(held: Held, window: Window, sizes: Tensor | None, device: torch.device) -> Table:
    if sizes is not None:
        return _build(held, window, sizes.to(device, torch.int64), device)
    if _traced():
        return _build(held, window, None, device)
    with unrecorded() as recording:  # a constant in the trace
        table = _cached_table(held, window, device)
        if not recording:
            return table
        # The trace identifies tensors by object, and cannot use a tensor outside an
        # autograd.Function if it first appeared inside.
        visible = None if table.visible is None else table.visible.detach()
        return Table(table.key.detach(), visible, table.bias.detach(), None)


def to_heads_last(tensor: Tensor, heads_first: bool) -> Tensor:
    """A view `[B, *S, H, D]` of a tensor in the caller's layout."""
    return _moved(tensor, 1, -2) if heads_first else tensor


def to_heads_first(tensor: Tensor, heads_first: bool) -> Tensor:
    """A dense tensor in the caller's layout of `[B, *S, H, D]`."""
    return _moved(tensor, -2, 1).contiguous() if heads_first else tensor


def _moved(tensor: Tensor, source: int, target: int) -> Tensor:
    """torch.movedim, which some exporters do not support."""
    order = list(range(tensor.dim()))
    order.insert(target % tensor.dim(), order.pop(source))
    return tensor.permute(order)


def up(tensor: Tensor) -> Tensor:
    """Convert a tensor to the dtype of sums."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _gather(tokens: Tensor, table: Table) -> Tensor:
    """[B, *S, H, D] -> [B, queries, slots, H, D], 0 where masked, because 0 * NaN is NaN."""
    flat = tokens.flatten(1, -3)
    samples, queries, slots = shape_of(table.key)
    if samples == 1 and table.padding is None:
        picked = flat.index_select(1, table.key.flatten())
        picked = picked.reshape(_batch_of(flat), queries, slots, *shape_of(flat)[-2:])
    else:
        batch = torch.arange(samples, device=flat.device)[:, None, None]
        picked = flat[batch, table.key]
    if table.visible is None:
        return picked
    return picked.masked_fill(~table.visible[..., None, None], 0)


def _queries(query: Tensor, window: Window, table: Table) -> Tensor:
    """[B, *S, H, D] -> [B, queries, H, D], with zeros at padding."""
    for axis, step in enumerate(window.query_step):
        if step > 1:
            length = shape_of(query)[1 + axis]
            kept = torch.arange(0, length, step, device=query.device)
            query = query.index_select(1 + axis, kept)
    flat = query.flatten(1, -3)
    if table.padding is None:
        return flat
    return flat.masked_fill(table.padding[:, :, None, None], 0)


def _grouped(tensor: Tensor, kv_heads: int) -> Tensor:
    """[B, N, H, D] -> [B, N, kv_heads, H / kv_heads, D]."""
    _, n, heads, d = shape_of(tensor)
    return tensor.reshape(_batch_of(tensor), n, kv_heads, heads // kv_heads, d)


def _with_every(rows: Tensor, matrix: Tensor) -> Tensor:
    """Rows [B, queries, kv_heads, H / kv_heads, n] times a matrix [B, kv_heads, n, m] that is the
    same for all queries: [B, queries, kv_heads, H / kv_heads, m]."""
    _, queries, _, group, _ = shape_of(rows)
    flat = rows.permute(0, 2, 1, 3, 4).flatten(2, 3) @ matrix
    return flat.unflatten(2, (queries, group)).permute(0, 2, 1, 3, 4)


def _logits(
    query: Tensor,
    key: Tensor,
    window: Window,
    table: Table,
    scale: float,
    rpb: Tensor | None,
    extra_key: Tensor | None,
) -> Tensor:
    """[B, queries, H, slots + extra], -inf where masked."""
    heads, kv_heads = shape_of(query)[-2], shape_of(key)[-2]
    q = _grouped(up(_queries(query, window, table)), kv_heads) * scale
    # Matrix products with at most 5 dimensions, the most that exporters support.
    logits = (q @ _gather(up(key), table).permute(0, 1, 3, 4, 2)).flatten(2, 3)
    if rpb is not None:
        bias = up(rpb).reshape(heads, -1)[:, table.bias]  # [H, S, queries, slots]
        logits = logits + bias.permute(1, 2, 0, 3)
    if table.visible is not None:
        logits = logits.masked_fill(~table.visible[:, :, None, :], -math.inf)
    if extra_key is not None:
        extra = _with_every(q, up(extra_key).permute(0, 2, 3, 1)).flatten(2, 3)
        if table.padding is not None:
            extra = extra.masked_fill(table.padding[..., None, None], -math.inf)
        logits = torch.cat([logits, extra], -1)
    return logits


def _weighted(weights: Tensor, value: Tensor, table: Table, extra_value: Tensor | None) -> Tensor:
    """[B, queries, H, slots + extra] weights, 0 where masked -> [B, queries, H, Dv]."""
    slots = shape_of(table.key)[-1]
    w = _grouped(weights, shape_of(value)[-2])
    near = w if extra_value is None else w[..., :slots]
    out = near @ _gather(up(value), table).permute(0, 1, 3, 2, 4)
    if extra_value is not None:
        out = out + _with_every(w[..., slots:], up(extra_value).permute(0, 2, 1, 3))
    return out.flatten(2, 3)


def _outputs(held: Held, window: Window) -> list[int]:
    return [-(-n // step) for n, step in zip(held.queries, window.query_step, strict=True)]


def queries_of(outputs: Sequence[int], window: Window) -> tuple[int, ...]:
    """Number of queries in a range with these outputs, up to the last computed query."""
    return tuple((n - 1) * step + 1 for n, step in zip(outputs, window.query_step, strict=True))


def _spread(flat: Tensor, held: Held, window: Window, dtype: torch.dtype) -> Tensor:
    """[B, queries, ...] -> [B, *queries, ...]."""
    shape = (_batch_of(flat), *_outputs(held, window), *shape_of(flat)[2:])
    spread = flat.reshape(shape)
    return spread if spread.dtype == dtype else spread.to(dtype)


def _clear(tensor: Tensor, table: Table, value: float) -> Tensor:
    if table.padding is None:
        return tensor
    shape = table.padding.shape + (1,) * (tensor.dim() - 2)
    return tensor.masked_fill(table.padding.reshape(shape), value)


def _fixed(*tensors: Tensor) -> Any:
    """The tensors, and the positions held by the first and the last of them. A recorded trace is
    fixed to these lengths and must refuse others, but it accepts any batch size."""
    lengths = [tuple(shape_of(t)[1:-2]) for t in tensors]
    held = Held(lengths[0], lengths[-1])
    if torch._C._get_tracing_state() is None:
        return *tensors, held
    fixed = (t.expand(-1, *n, -1, -1) for t, n in zip(tensors, lengths, strict=True))
    return *fixed, held


def softmax(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax and log-sum-exp of rows, and which rows see no keys: their weights are 0 and their
    lse is -inf. A row with a logit of +inf becomes NaN, and so does its lse."""
    top = logits.amax(-1, keepdim=True)
    nothing = top == -math.inf
    logits = logits.masked_fill(nothing, 0)
    lse = torch.logsumexp(logits, -1).masked_fill(nothing.squeeze(-1), -math.inf)
    lse = lse.masked_fill(top.squeeze(-1) == math.inf, math.nan)
    return torch.softmax(logits, -1).masked_fill(nothing, 0), lse, nothing


def without_autocast(function: Function) -> Function:
    """Make a function compute in the dtypes that it specifies, regardless of autocast."""

    @wraps(function)
    def exact(*inputs: Any, **options: Any) -> Any:
        first = next(t for t in (*inputs, *options.values()) if isinstance(t, Tensor))
        device = first.device.type
        if device not in ("cpu", "mps", "cuda", "xpu") or not torch.is_autocast_enabled(device):
            return function(*inputs, **options)
        with torch.autocast(device, enabled=False):
            return function(*inputs, **options)

    return cast("Function", exact)


@without_autocast
def attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rpb: Tensor | None = None,
    extra_key: Tensor | None = None,
    extra_value: Tensor | None = None,
    *,
    window: Window,
    scale: float | None = None,
    sizes: Tensor | None = None,
    heads_first: bool = False,
) -> tuple[Tensor, Tensor]:
    """Fused attention and its log-sum-exp; see ops.attn."""
    q, k, v = (to_heads_last(t, heads_first) for t in (query, key, value))
    extra_k, extra_v = (
        None if t is None else to_heads_last(t, heads_first) for t in (extra_key, extra_value)
    )
    q, k, v, held = _fixed(q, k, v)
    table = _table(held, window, sizes, q.device)
    factor = 1 / math.sqrt(shape_of(q)[-1]) if scale is None else scale
    weights, lse, nothing = softmax(_logits(q, k, window, table, factor, rpb, extra_k))
    out = _weighted(weights, v, table, extra_v).masked_fill(nothing, 0)
    out = _spread(out, held, window, query.dtype)
    lse = _spread(lse, held, window, lse.dtype)
    if not heads_first:
        return out, lse
    return to_heads_first(out, True), _moved(lse, -1, 1).contiguous()


@without_autocast
def qk(
    query: Tensor,
    key: Tensor,
    rpb: Tensor | None = None,
    extra_key: Tensor | None = None,
    *,
    window: Window,
    scale: float | None = None,
    sizes: Tensor | None = None,
    heads_first: bool = False,
) -> Tensor:
    """Logits of each window; see ops.qk."""
    q, k = to_heads_last(query, heads_first), to_heads_last(key, heads_first)
    extra_k = None if extra_key is None else to_heads_last(extra_key, heads_first)
    q, k, held = _fixed(q, k)
    table = _table(held, window, sizes, q.device)
    logits = _logits(q, k, window, table, 1.0 if scale is None else scale, rpb, extra_k)
    out = _spread(_clear(logits, table, 0), held, window, query.dtype)
    return to_heads_first(out, heads_first)


@without_autocast
def av(
    attn: Tensor,
    value: Tensor,
    extra_value: Tensor | None = None,
    *,
    window: Window,
    scale: float | None = None,
    sizes: Tensor | None = None,
    heads_first: bool = False,
) -> Tensor:
    """Weighted sums over each window; see ops.av. `scale` exists for uniformity and is None."""
    assert scale is None
    weights, v = to_heads_last(attn, heads_first), to_heads_last(value, heads_first)
    extra_v = None if extra_value is None else to_heads_last(extra_value, heads_first)
    v, held = _fixed(v)
    if window.ranges is not None:
        held = held._replace(queries=queries_of(shape_of(weights)[1:-2], window))
    table = _table(held, window, sizes, v.device)
    w = up(weights).flatten(1, -3)
    if table.visible is not None:
        slots = shape_of(table.key)[-1]
        near = (w if extra_value is None else w[..., :slots]).masked_fill(
            ~table.visible[:, :, None, :], 0
        )
        w = near if extra_value is None else torch.cat([near, w[..., slots:]], -1)
    w = _clear(w, table, 0)
    out = _clear(_weighted(w, v, table, extra_v), table, 0)
    return to_heads_first(_spread(out, held, window, value.dtype), heads_first)
