# SPDX-License-Identifier: MIT
"""An operation on the local tensors of a process group."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as dist

from .. import ops
from .._layout import lse_dtype
from .._operation import AV, QK, Operation
from ..utils.window import Ranges as Held
from ._exchange import Exchange, Finish, Start, Tie
from ._geometry import Block, Partition, Share, share

Tensors = tuple[Tensor | None, ...]
Function = TypeVar("Function", bound=Callable[..., Any])


def in_graph(function: Function) -> Function:
    """torch.compiler.allow_in_graph with a type annotation: Dynamo does not trace into the
    function; later stages of the compiler see the operations that it calls."""
    return cast("Function", torch.compiler.allow_in_graph(function))


def attend(
    op: Operation,
    inputs: Tensors,
    partition: Partition,
    scale: Any,
    group: dist.ProcessGroup,
) -> tuple[Tensor, ...]:
    """The outputs of this process. Inputs are local, heads-last and in the operation's order; those
    without positions (bias, additional tokens) are complete. The whole group must call."""
    mine = share(partition, dist.get_rank(group))
    call = _Call(op, inputs, partition, scale, mine)
    if mine.lonely:
        return call.cut(mine.block) if mine.block is not None else call.nothing()
    exchange = Exchange(mine, group, call.roles, call.travelling)
    flat, *parts = Start.apply(exchange, *call.travelling)
    inner, n = None, len(call.roles)
    if mine.inner is not None:  # computed while rows are in transit
        inner = call.block(mine.inner, parts[:n])
        parts = parts[n:]
    token, *slabs = Finish.apply(exchange, flat, *parts)
    found = iter([call.block(b, slabs[i * n : (i + 1) * n]) for i, b in enumerate(mine.rims)])
    if mine.block is None:
        return Tie.apply(token, *call.nothing())
    outputs = _assembled(inner, mine, found)
    return Tie.apply(token, *outputs)


def _assembled(inner: Any, mine: Share, found: Any) -> tuple[Tensor, ...]:
    """Join the inner block's outputs with the blocks around it, given in the order of mine.rims."""
    outputs = inner
    axes = reversed(range(len(mine.own)))
    for axis, (before, behind) in zip(axes, mine.rim, strict=False):
        parts = [next(found)] if before is not None else []
        parts += [outputs] if outputs is not None else []
        parts += [next(found)] if behind is not None else []
        outputs = parts[0]
        if len(parts) > 1:
            outputs = tuple(torch.cat(each, 1 + axis) for each in zip(*parts, strict=True))
    return outputs


class _Call:
    """The tensors of one call, grouped by how they are exchanged."""

    def __init__(
        self, op: Operation, inputs: Tensors, partition: Partition, scale: Any, mine: Share
    ) -> None:
        self.op, self.inputs, self.scale = op, inputs, scale
        self.partition, self.mine = partition, mine
        # The weights of av are split like the outputs, and are therefore never exchanged.
        places = {"query": "queries", "key": "keys", "value": "keys"}
        self.names = [name for name in op.inputs if name in places]
        self.roles = tuple(places[name] for name in self.names)
        given = dict(zip(op.inputs, inputs, strict=True))
        self.travelling: list[Any] = [given[name] for name in self.names]

    def cut(self, block: Block) -> tuple[Tensor, ...]:
        """The outputs of a block for which this process holds all inputs."""
        wants = (getattr(block, role) for role in self.roles)
        cut = [_cut(t, w, self.mine.own) for t, w in zip(self.travelling, wants, strict=True)]
        return self.block(block, cut)

    def block(self, block: Block, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs of a block, from tensors that hold only its queries and keys."""
        given = dict(zip(self.op.inputs, self.inputs, strict=True))
        given.update(zip(self.names, tensors, strict=True))
        if self.op is AV:
            weights = given["attn"]
            assert weights is not None
            given["attn"] = _cut(weights, block.outputs, self.mine.outputs)
        first, key = (tuple(part.start for part in some) for some in (block.queries, block.keys))
        window = self.partition.window._replace(ranges=Held(first, key, self.partition.lengths))
        result = ops.call(self.op, tuple(given.values()), window, self.scale, None, False)
        return result if isinstance(result, tuple) else (result,)

    def nothing(self) -> tuple[Tensor, ...]:
        """Outputs without positions, which keep this process in the backward pass."""
        given = {n: t for n, t in zip(self.op.inputs, self.inputs, strict=True) if t is not None}
        first = given[self.op.inputs[0]]
        if self.op is QK:
            extra = given.get("extra_key")
            last = prod(self.partition.window.kernel) + (0 if extra is None else extra.shape[1])
        else:
            last = given["value"].shape[-1]
        shape = (first.shape[0], *(len(part) for part in self.mine.outputs), first.shape[-2])
        zero = sum((t.reshape(-1)[:0].sum() for t in given.values()), first.new_zeros(()))
        out = first.new_zeros((*shape, last)) + zero
        if len(self.op.outputs) == 1:
            return (out,)
        wide = lse_dtype(first.dtype)
        return out, first.new_zeros(shape, dtype=wide) + zero.to(wide)


def _cut(tensor: Tensor, want: Sequence[range], held: Sequence[range]) -> Tensor:
    for axis, (part, all_) in enumerate(zip(want, held, strict=True)):
        if part != all_:
            tensor = tensor.narrow(1 + axis, part.start - all_.start, len(part))
    return tensor
