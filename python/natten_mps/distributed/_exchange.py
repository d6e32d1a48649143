# SPDX-License-Identifier: MIT
"""One all-to-all that brings a process the rows it needs, and its gradients back.

Both directions are linear, and each of the four halves below is the adjoint of another, so that
gradients exist to any order. A half that starts a collective gives a tensor that is not there yet;
the half that needs it waits. Autograd runs the last half first: gradients of foreign rows leave
before those of the inner queries are computed, and are added after them, rank by rank.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from ._geometry import Box, Share, Transfer, count

Shape = tuple[int, ...]


class Exchange:
    """The exchange of one call. Tensors are `[B, *own, heads, dim]`: those at `roles` "keys" (keys
    and values) and "queries"."""

    def __init__(
        self,
        share: Share,
        group: dist.ProcessGroup,
        roles: tuple[str, ...],
        tensors: Sequence[Tensor],
    ) -> None:
        """For these tensors, or others of their shapes."""
        self.share, self.roles = share, roles
        self.group_name = group.group_name
        self.staged = tensors[0].device.type not in {d.type for d in group._device_types}
        self.device = tensors[0].device
        rank = len(share.own)
        self._ends = [(t.shape[0], *t.shape[1 + rank :]) for t in tensors]
        self.locals = [tuple(t.shape) for t in tensors]
        #: Elements of the messages to and from each process.
        self.sent, self.received = self._sizes(share.sends), self._sizes(share.receives)

    def _rows(self, transfer: Transfer | None, role: str) -> Box | None:
        box = None if transfer is None else getattr(transfer, role)
        return box if box is not None and count(box) else None

    def _sizes(self, transfers: Sequence[Transfer | None]) -> list[int]:
        """Elements of each message."""
        sizes = []
        for transfer in transfers:
            total = 0
            for role, (batch, heads, dim) in zip(self.roles, self._ends, strict=True):
                rows = self._rows(transfer, role)
                total += 0 if rows is None else batch * count(rows) * heads * dim
            sizes.append(total)
        return sizes

    def _padding(self, *, back: bool) -> int:
        """What a process sends to itself, so that as much arrives there as arrives back: autograd
        wants a gradient to be of its tensor's size."""
        more = sum(self.sent) - sum(self.received)
        return max(-more if back else more, 0)

    def held(self, role: str) -> tuple[range, ...]:
        """Positions of a tensor with what has come from elsewhere."""
        block = self.share.block
        if block is None:
            return tuple(range(0) for _ in self.share.own)
        return block.keys if role == "keys" else block.queries

    def shapes(self) -> list[Shape]:
        """Of the tensors with what has come from elsewhere."""
        return [
            (end[0], *(len(part) for part in self.held(role)), *end[1:])
            for role, end in zip(self.roles, self._ends, strict=True)
        ]

    def launch(self, flat: Tensor, *, back: bool) -> Tensor:
        """Start the all-to-all; the result is there after `arrived`."""
        to, of = list(self.sent), list(self.received)
        if back:
            to, of = of, to
        for sizes in (to, of):
            sizes[self.share.rank] = self._padding(back=back)
        if self.staged:
            flat = flat.cpu()
        started: Tensor = torch.ops._c10d_functional.all_to_all_single(
            flat, of, to, self.group_name
        )
        return started

    def arrived(self, flat: Tensor) -> Tensor:
        """The result of `launch`, on the tensors' device."""
        there: Tensor = torch.ops._c10d_functional.wait_tensor(flat)
        return there.to(self.device) if self.staged else there

    def pack(self, tensors: Sequence[Tensor], *, back: bool) -> Tensor:
        """The rows of all messages, concatenated; on the way back of tensors with what has
        come from elsewhere."""
        pieces = [tensors[0].new_empty(0)]
        for rank, transfer in enumerate(self.share.receives if back else self.share.sends):
            for role, tensor in zip(self.roles, tensors, strict=True):
                rows = self._rows(transfer, role)
                if rows is not None:
                    held = self.held(role) if back else self.share.own
                    pieces.append(tensor[_places(rows, held, tensor.device)].reshape(-1))
            if rank == self.share.rank:
                pieces.append(tensors[0].new_zeros(self._padding(back=back)))
        return torch.cat(pieces)

    def unpack(self, flat: Tensor, tensors: Sequence[Tensor], *, back: bool) -> None:
        """Add the rows of all messages to the tensors, in the order of ranks."""
        begin = 0
        for rank, transfer in enumerate(self.share.sends if back else self.share.receives):
            for role, tensor, end in zip(self.roles, tensors, self._ends, strict=True):
                rows = self._rows(transfer, role)
                if rows is None:
                    continue
                shape = (end[0], *(len(part) for part in rows), *end[1:])
                piece = flat.narrow(0, begin, end[0] * count(rows) * end[1] * end[2]).view(shape)
                begin += piece.numel()
                held = self.share.own if back else self.held(role)
                tensor[_places(rows, held, tensor.device)] += piece
            if rank == self.share.rank:
                begin += self._padding(back=back)

    def widen(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors' own rows among those held; zeros elsewhere."""
        wide = [t.new_zeros(shape) for t, shape in zip(tensors, self.shapes(), strict=True)]
        for role, t, w in zip(self.roles, tensors, wide, strict=True):
            both = _overlap(self.held(role), self.share.own)
            if both is not None:
                w[_places(both, self.held(role), w.device)] = t[
                    _places(both, self.share.own, t.device)
                ]
        return wide

    def narrow(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The adjoint of `widen`."""
        own = [t.new_zeros(shape) for t, shape in zip(tensors, self.locals, strict=True)]
        for role, t, o in zip(self.roles, tensors, own, strict=True):
            both = _overlap(self.held(role), self.share.own)
            if both is not None:
                o[_places(both, self.share.own, o.device)] = t[
                    _places(both, self.held(role), t.device)
                ]
        return own


def _overlap(a: Sequence[range], b: Sequence[range]) -> Box | None:
    both = tuple(
        range(max(x.start, y.start), min(x.stop, y.stop)) for x, y in zip(a, b, strict=True)
    )
    return both if count(both) else None


def _places(box: Box, held: Sequence[range], device: torch.device) -> Any:
    """The index of a box in a tensor [B, *held, ...]."""
    if all(isinstance(part, range) for part in box):
        slices = (
            slice(part[0] - own.start, part[-1] - own.start + 1, part.step)  # type: ignore[union-attr]
            for part, own in zip(box, held, strict=True)
        )
        return (slice(None), *slices)
    index = []
    for axis, (part, own) in enumerate(zip(box, held, strict=True)):
        places = torch.tensor([p - own.start for p in part], device=device)
        index.append(places.view(-1, *(1,) * (len(box) - 1 - axis)))
    return (slice(None), *index)


class Start(torch.autograd.Function):
    """apply(exchange, *tensors) -> rows on their way to this process."""

    @staticmethod
    def forward(ctx: Any, exchange: Exchange, *tensors: Tensor) -> Tensor:
        """Send own rows."""
        ctx.exchange = exchange
        flat = exchange.pack(tensors, back=False)
        return exchange.launch(flat, back=False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Receive gradients of own rows."""
        return (None, *Return.apply(ctx.exchange, *grads))


class Return(torch.autograd.Function):
    """The adjoint of Start: apply(exchange, rows on their way back) -> tensors."""

    @staticmethod
    def forward(ctx: Any, exchange: Exchange, flat: Tensor) -> Any:
        """Receive gradients of own rows."""
        ctx.exchange = exchange
        there = exchange.arrived(flat)
        tensors = [there.new_zeros(shape) for shape in exchange.locals]
        exchange.unpack(there, tensors, back=True)
        return tuple(tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Send own rows."""
        return None, Start.apply(ctx.exchange, *grads)


class Finish(torch.autograd.Function):
    """apply(exchange, rows on their way to this process, *tensors) -> wider tensors."""

    @staticmethod
    def forward(ctx: Any, exchange: Exchange, flat: Tensor, *tensors: Tensor) -> Any:
        """Put foreign rows beside own ones."""
        ctx.exchange = exchange
        there = exchange.arrived(flat)
        wide = exchange.widen(tensors)
        exchange.unpack(there, wide, back=False)
        return tuple(wide)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Send gradients of foreign rows back."""
        return (None, *Send.apply(ctx.exchange, *grads))


class Send(torch.autograd.Function):
    """The adjoint of Finish: apply(exchange, *wider) -> rows on their way back, *tensors."""

    @staticmethod
    def forward(ctx: Any, exchange: Exchange, *wide: Tensor) -> Any:
        """Send gradients of foreign rows back."""
        ctx.exchange = exchange
        flat = exchange.pack(wide, back=True)
        return (exchange.launch(flat, back=True), *exchange.narrow(wide))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Put foreign rows beside own ones."""
        return (None, *Finish.apply(ctx.exchange, *grads))
