# SPDX-License-Identifier: MIT
"""Computes which process needs which keys, using only numbers: no tensors, no process groups.

A box is one set of positions per axis, numbered on the whole axis: a range, or ascending positions
where a dilation leaves gaps. Keys, queries and outputs are split as by torch.chunk; there are fewer
outputs than queries if some queries are skipped.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property, lru_cache
from math import gcd, prod
from typing import NamedTuple

from ..utils.window import Window, extent, keys_of

Positions = range | tuple[int, ...]
Box = tuple[Positions, ...]
Ranges = tuple[range, ...]


def chunks(whole: range, parts: int) -> list[range]:
    """The chunks that torch.chunk makes; the last ones may be smaller or empty."""
    size = -(-len(whole) // parts)
    return [
        whole[min(i * size, len(whole)) : min((i + 1) * size, len(whole))] for i in range(parts)
    ]


def grid_boxes(sizes: Sequence[int], grid: Sequence[int]) -> tuple[Ranges, ...]:
    """The box of each process of a grid, with the last axis fastest."""
    boxes: list[Ranges] = [()]
    for size, parts in zip(sizes, grid, strict=True):
        boxes = [(*box, part) for box in boxes for part in chunks(range(size), parts)]
    return tuple(boxes)


def _tight(positions: Sequence[int]) -> Positions:
    """Convert ascending positions to a range if they form one."""
    if not positions:
        return range(0)
    if positions[-1] - positions[0] + 1 == len(positions):
        return range(positions[0], positions[-1] + 1)
    return tuple(positions)


def common(positions: Positions, held: range) -> Positions:
    """The positions that are in `held`."""
    if isinstance(positions, range):
        first = bisect_left(positions, held.start)
        return positions[first : bisect_left(positions, held.stop)]
    return _tight(positions[bisect_left(positions, held.start) : bisect_left(positions, held.stop)])


def count(box: Box) -> int:
    """Number of positions in a box."""
    return prod(len(part) for part in box)


@lru_cache(maxsize=4096)
def keys_seen(window: Window, axis: int, length: int, outputs: range) -> Positions:
    """The exact keys that the queries of these outputs see along an axis."""
    step, dilation = window.query_step[axis], window.dilation[axis]
    kernel, stride = window.kernel[axis], window.stride[axis]
    if not outputs:
        return range(0)
    cycle = dilation // gcd(dilation, step)  # distance between outputs in the same dilation group
    # The windows of a group overlap or touch, unless both kinds of strides skip keys.
    touching = step == 1 or (stride == 1 and step // gcd(dilation, step) <= kernel)
    seen: set[int] = set()
    for first in outputs[: cycle if touching else None]:
        last = first + (outputs[-1] - first) // cycle * cycle if touching else first
        low = extent(window, axis, length, first * step)[0]
        high = extent(window, axis, length, last * step)[1]
        if cycle == dilation == 1 and touching:
            return range(low, high + 1)
        seen.update(range(low, high + 1, dilation))
    return _tight(sorted(seen))


def _inner(window: Window, axis: int, length: int, outputs: range, own: range) -> range:
    """The longest run of outputs whose queries and keys are all in `own`."""
    step, dilation = window.query_step[axis], window.dilation[axis]
    begin, end = -(-own.start // step), -(-own.stop // step)
    outputs = range(max(outputs.start, begin), min(outputs.stop, end))
    cycle = dilation // gcd(dilation, step)
    low, high = outputs.start, outputs.stop
    for first in outputs[:cycle]:
        group = range(first, outputs.stop, cycle)  # both ends of the windows increase along it
        early = bisect_left(
            group, own.start, key=lambda o: extent(window, axis, length, o * step)[0]
        )
        late = bisect_left(group, own.stop, key=lambda o: extent(window, axis, length, o * step)[1])
        if early:
            low = max(low, group[early - 1] + 1)
        if late < len(group):
            high = min(high, group[late])
    while low < high:  # keys_of includes queries between the computed ones
        keys = keys_of(window, axis, length, low * step, (high - 1 - low) * step + 1)
        if own.start <= keys.start and keys.stop <= own.stop:
            return range(low, high)
        low, high = low + (keys.start < own.start), high - (keys.stop > own.stop)
    return range(0)


class Transfer(NamedTuple):
    """Rows that one process sends to another: rows of keys and values, and rows of queries."""

    keys: Box
    queries: Box


class Partition(NamedTuple):
    """A problem split over the processes of a group; boxes are indexed by rank in the group."""

    window: Window  # without ranges
    lengths: tuple[int, ...]
    owners: tuple[Ranges, ...]  # positions of queries and keys
    outputs: tuple[Ranges, ...]

    def keys_of(self, rank: int) -> Box:
        """The exact keys that a process needs."""
        axes = enumerate(zip(self.lengths, self.outputs[rank], strict=True))
        return tuple(keys_seen(self.window, axis, n, part) for axis, (n, part) in axes)

    def queries_of(self, rank: int) -> Box:
        """The queries that a process computes."""
        parts = zip(self.outputs[rank], self.window.query_step, strict=True)
        return tuple(range(p.start * step, p.stop * step, step) for p, step in parts)

    def transfer(self, source: int, target: int) -> Transfer | None:
        """What one process sends to another; None if nothing."""
        if source == target or not all(self.outputs[target]):
            return None
        held = self.owners[source]
        keys, queries = (
            tuple(common(need, own) for need, own in zip(needs, held, strict=True))
            for needs in (self.keys_of(target), self.queries_of(target))
        )
        return Transfer(keys, queries) if count(keys) or count(queries) else None


class Block(NamedTuple):
    """Outputs computed by one call, and the smallest intervals of queries and keys they need."""

    outputs: Ranges
    queries: Ranges
    keys: Ranges


def _within(block: Block | None, own: Ranges) -> bool:
    if block is None:
        return True
    return all(
        held.start <= part.start and part.stop <= held.stop
        for needs in (block.queries, block.keys)
        for part, held in zip(needs, own, strict=True)
    )


class Share:
    """What one process of a partition sends, receives and computes."""

    def __init__(self, partition: Partition, rank: int) -> None:
        """Compute the share of the process with this rank."""
        self.partition, self.rank = partition, rank
        self.own, self.outputs = partition.owners[rank], partition.outputs[rank]
        peers = range(len(partition.owners))
        self.sends = [partition.transfer(rank, peer) for peer in peers]
        self.receives = [partition.transfer(peer, rank) for peer in peers]
        self.block = self._block(self.outputs)

    def _block(self, outputs: Ranges) -> Block | None:
        if not all(outputs):
            return None
        window, queries, keys = self.partition.window, [], []
        for axis, (length, part) in enumerate(zip(self.partition.lengths, outputs, strict=True)):
            step = window.query_step[axis]
            some = range(part.start * step, (part.stop - 1) * step + 1)
            queries.append(some)
            keys.append(keys_of(window, axis, length, some.start, len(some)))
        return Block(outputs, tuple(queries), tuple(keys))

    @cached_property
    def lonely(self) -> bool:
        """Whether every process of the group holds everything that it needs."""
        every = zip(self.partition.owners, self.partition.outputs, strict=True)
        return all(_within(self._block(outputs), own) for own, outputs in every)

    @cached_property
    def inner(self) -> Block | None:
        """The outputs that need nothing from other processes."""
        axes = enumerate(zip(self.partition.lengths, self.outputs, self.own, strict=True))
        found = (_inner(self.partition.window, a, n, out, own) for a, (n, out, own) in axes)
        return self._block(tuple(found))

    @cached_property
    def rim(self) -> list[tuple[Block | None, Block | None]]:
        """For each axis, from last to first, the blocks before and after the inner block extended
        by the blocks of later axes. Without an inner block everything is before it."""
        if self.inner is None:
            return [(self.block, None)]
        pairs = []
        middle = list(self.inner.outputs)
        for axis in reversed(range(len(middle))):
            whole = self.outputs[axis]
            before, behind = list(middle), list(middle)
            before[axis] = range(whole.start, middle[axis].start)
            behind[axis] = range(middle[axis].stop, whole.stop)
            pairs.append((self._block(tuple(before)), self._block(tuple(behind))))
            middle[axis] = whole
        return pairs

    @cached_property
    def rims(self) -> list[Block]:
        """The blocks that need rows from other processes."""
        return [block for pair in self.rim for block in pair if block is not None]


@lru_cache(maxsize=256)
def share(partition: Partition, rank: int) -> Share:
    """The share of a process, cached."""
    return Share(partition, rank)
