# SPDX-License-Identifier: MIT
"""One all-to-all that fetches the rows a process needs, and returns their gradients.

Both directions are linear, and each of the four halves below is the adjoint of another, so
gradients of any order exist. A half that starts a collective returns a tensor that is not complete
yet; the half that needs it waits. Autograd runs the last half first: gradients of remote rows are
sent before the gradients of the inner queries are computed, and are added after them, rank by rank.

A block of outputs that needs remote rows gets its own slab of keys and queries, so that only the
rim is copied, not everything.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from ._geometry import Box, Ranges, Share, Transfer, common, count

Shape = tuple[int, ...]


class Exchange:
    """The exchange of one call. Tensors are `[B, *own, heads, dim]`; `roles` says which are "keys"
    (keys and values) and which are "queries"."""

    def __init__(
        self,
        share: Share,
        group: dist.ProcessGroup,
        roles: tuple[str, ...],
        tensors: Sequence[Tensor],
    ) -> None:
        """Set up the exchange for these tensors, or others with the same shapes."""
        self.share, self.roles = share, roles
        self.group_name = group.group_name
        self.staged = tensors[0].device.type not in {d.type for d in group._device_types}
        self.device, self.dtype = tensors[0].device, tensors[0].dtype
        rank = len(share.own)
        self._ends = [(t.shape[0], *t.shape[1 + rank :]) for t in tensors]
        self.locals = [tuple(t.shape) for t in tensors]
        #: Number of elements of the messages to and from each process.
        self.sent, self.received = self._sizes(share.sends), self._sizes(share.receives)

    def _rows(self, transfer: Transfer | None, role: str) -> Box | None:
        box = None if transfer is None else getattr(transfer, role)
        return box if box is not None and count(box) else None

    def _sizes(self, transfers: Sequence[Transfer | None]) -> list[int]:
        """Number of elements of each message."""
        sizes = []
        for transfer in transfers:
            total = 0
            for role, (batch, heads, dim) in zip(self.roles, self._ends, strict=True):
                rows = self._rows(transfer, role)
                total += 0 if rows is None else batch * count(rows) * heads * dim
            sizes.append(total)
        return sizes

    def _padding(self, *, back: bool) -> int:
        """Elements that a process sends to itself so that both directions have the same total size:
        autograd requires a gradient to have the size of its tensor."""
        more = sum(self.sent) - sum(self.received)
        return max(-more if back else more, 0)

    def launch(self, flat: Tensor, *, back: bool) -> Tensor:
        """Start the all-to-all; the result is complete after `arrived`."""
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

    def _messages(
        self, flat: Tensor, transfers: Sequence[Transfer | None], *, back: bool
    ) -> Iterator[tuple[int, Box, Tensor]]:
        """Tensor, rows and a view for each of the concatenated messages."""
        begin = 0
        for rank, transfer in enumerate(transfers):
            for i, (role, end) in enumerate(zip(self.roles, self._ends, strict=True)):
                rows = self._rows(transfer, role)
                if rows is None:
                    continue
                shape = (end[0], *(len(part) for part in rows), *end[1:])
                piece = flat.narrow(0, begin, end[0] * count(rows) * end[1] * end[2]).view(shape)
                begin += piece.numel()
                yield i, rows, piece
            if rank == self.share.rank:
                begin += self._padding(back=back)

    def pack(self, tensors: Sequence[Tensor]) -> Tensor:
        """Local rows that others need, concatenated by message."""
        pieces = [tensors[0].new_empty(0)]
        for rank, transfer in enumerate(self.share.sends):
            for role, tensor in zip(self.roles, tensors, strict=True):
                rows = self._rows(transfer, role)
                if rows is not None:
                    place = _places(rows, self.share.own, tensor.device)
                    pieces.append(tensor[place].reshape(-1))
            if rank == self.share.rank:
                pieces.append(tensors[0].new_zeros(self._padding(back=False)))
        return torch.cat(pieces)

    def collect(self, flat: Tensor, tensors: Sequence[Tensor]) -> None:
        """The adjoint of `pack`: add returned rows in the order of ranks."""
        for i, rows, piece in self._messages(flat, self.share.sends, back=True):
            tensors[i][_places(rows, self.share.own, piece.device)] += piece

    def scatter(self, flat: Tensor, slabs: Sequence[Tensor]) -> None:
        """Add remote rows to the slabs of blocks."""
        for i, rows, piece in self._messages(flat, self.share.receives, back=False):
            for slab, held in self._slabs(i, slabs):
                if (both := _meet(rows, held)) is not None:
                    slab[_places(both, held, slab.device)] += piece[_run(both, rows)]

    def gather(self, slabs: Sequence[Tensor]) -> Tensor:
        """The adjoint of `scatter`: sum over the blocks, packed as messages to return."""
        flat = slabs[0].new_zeros(sum(self.received) + self._padding(back=True))
        for i, rows, piece in self._messages(flat, self.share.receives, back=True):
            for slab, held in self._slabs(i, slabs):
                if (both := _meet(rows, held)) is not None:
                    piece[_run(both, rows)] += slab[_places(both, held, slab.device)]
        return flat

    def _slabs(self, i: int, slabs: Sequence[Tensor]) -> Iterator[tuple[Tensor, Ranges]]:
        """The slab of each block for one tensor, and the positions that it holds."""
        for block, slab in zip(self.share.rims, slabs[i :: len(self.roles)], strict=True):
            yield slab, getattr(block, self.roles[i])

    def split(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Views of the local rows of the inner block, and a slab for each block, 0 in remote rows;
        each for all tensors, concatenated."""
        parts = []
        inner = self.share.inner
        if inner is not None:
            for role, tensor in zip(self.roles, tensors, strict=True):
                parts.append(tensor[_places(getattr(inner, role), self.share.own, tensor.device)])
        for block in self.share.rims:
            for role, tensor, end in zip(self.roles, tensors, self._ends, strict=True):
                held = getattr(block, role)
                slab = tensor.new_zeros((end[0], *(len(part) for part in held), *end[1:]))
                if (both := _meet(held, self.share.own)) is not None:
                    place = _places(both, self.share.own, tensor.device)
                    slab[_places(both, held, tensor.device)] = tensor[place]
                parts.append(slab)
        return parts

    def unite(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The adjoint of `split`."""
        n, inner = len(self.roles), self.share.inner
        tensors = []
        for i, (role, shape) in enumerate(zip(self.roles, self.locals, strict=True)):
            if inner is None:
                tensors.append(parts[i].new_zeros(shape) if parts else self._zeros(shape))
                continue
            if parts[i].shape == shape:
                tensors.append(parts[i].clone())
                continue
            tensors.append(parts[i].new_zeros(shape))
            tensors[i][_places(getattr(inner, role), self.share.own, self.device)] = parts[i]
        slabs = parts[n if inner is not None else 0 :]
        for i, tensor in enumerate(tensors):
            for slab, held in self._slabs(i, slabs):
                if (both := _meet(held, self.share.own)) is not None:
                    place = _places(both, self.share.own, tensor.device)
                    tensor[place] += slab[_places(both, held, tensor.device)]
        return tensors

    def _zeros(self, shape: Shape) -> Tensor:
        return torch.zeros(shape, dtype=self.dtype, device=self.device)


def _meet(rows: Box, held: Sequence[range]) -> Box | None:
    """The rows that are held; None if there are none."""
    both = tuple(common(part, own) for part, own in zip(rows, held, strict=True))
    return both if count(both) else None


def _run(some: Box, rows: Box) -> Any:
    """The index of ascending rows of a box in a tensor [B, *rows, ...] that holds all of them."""
    begins = [bisect_left(whole, part[0]) for part, whole in zip(some, rows, strict=True)]
    slices = (slice(b, b + len(part)) for b, part in zip(begins, some, strict=True))
    return (slice(None), *slices)


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
    """apply(exchange, *tensors) -> rows in transit to this process, parts of local rows."""

    @staticmethod
    def forward(ctx: Any, exchange: Exchange, *tensors: Tensor) -> Any:
        """Send local rows."""
        ctx.exchange = exchange
        flat = exchange.launch(exchange.pack(tensors), back=False)
        return (flat, *exchange.split(tensors))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Receive gradients of local rows."""
        return (None, *Return.apply(ctx.exchange, *grads))


class Return(torch.autograd.Function):
    """The adjoint of Start: apply(exchange, returning rows in transit, parts of local rows) ->
    tensors."""

    @staticmethod
    def forward(ctx: Any, exchange: Exchange, flat: Tensor, *parts: Tensor) -> Any:
        """Receive gradients of local rows."""
        ctx.exchange = exchange
        tensors = exchange.unite(parts)
        exchange.collect(exchange.arrived(flat), tensors)
        return tuple(tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Send local rows."""
        return (None, *Start.apply(ctx.exchange, *grads))


class Finish(torch.autograd.Function):
    """apply(exchange, rows in transit to this process, *slabs) -> token, *slabs. The token is
    empty; it exists because every process has to take part in returning gradients."""

    @staticmethod
    def forward(ctx: Any, exchange: Exchange, flat: Tensor, *slabs: Tensor) -> Any:
        """Add remote rows to the slabs."""
        ctx.exchange = exchange
        there = exchange.arrived(flat)
        full = [slab.clone() for slab in slabs]
        exchange.scatter(there, full)
        return (there.new_empty(0), *full)

    @staticmethod
    def backward(ctx: Any, token: Tensor, *slabs: Tensor) -> Any:
        """Return gradients of remote rows."""
        return (None, *Send.apply(ctx.exchange, token, *slabs))


class Send(torch.autograd.Function):
    """The adjoint of Finish: apply(exchange, token, *slabs) -> returning rows in transit,
    *slabs."""

    @staticmethod
    def forward(ctx: Any, exchange: Exchange, token: Tensor, *slabs: Tensor) -> Any:
        """Return gradients of remote rows."""
        ctx.exchange = exchange
        flat = exchange.gather(slabs or (token,))
        return (exchange.launch(flat, back=True), *(slab.clone() for slab in slabs))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Add remote rows to the slabs."""
        return (None, *Finish.apply(ctx.exchange, *grads))


class Tie(torch.autograd.Function):
    """apply(token, *tensors) -> the tensors; makes their gradients depend on the token, too.

    The token is saved so that an activation checkpoint around the call computes it again here, as
    the first and the last thing, in every process: elsewhere the time would depend on the blocks
    that a process has, and with it the order of collectives.
    """

    @staticmethod
    def forward(ctx: Any, token: Tensor, *tensors: Tensor) -> Any:
        """Return views."""
        ctx.save_for_backward(token)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Return an empty gradient for the token."""
        (token,) = ctx.saved_tensors
        return (torch.empty_like(token), *grads)
