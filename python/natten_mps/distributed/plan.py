# SPDX-License-Identifier: MIT
"""Computes what a grid of processes sends for a problem, and whether computation hides it.

    python -m natten_mps.distributed.plan 64x128x128 7 2x4x4

All numbers are for one forward pass. Rows and messages are exactly those of natten_mps.distributed;
the time of a message is modeled as latency + bytes / bandwidth. The backward pass sends as many
bytes back and computes two and a half times as much.
"""

import argparse
from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

from ..utils.params import make_window
from ._function import partition_of
from ._geometry import Partition, count

#: name -> latency of a message in seconds, bytes per second of one process
NETWORKS = {
    "10gbe": (50e-6, 1.1e9),
    "thunderbolt": (30e-6, 2.5e9),
    "datacenter": (5e-6, 25e9),
}


class Rows(NamedTuple):
    """Bytes per position: of keys and values together, and of a query."""

    keys: int
    queries: int


class Traffic(NamedTuple):
    """What one process receives or sends."""

    bytes: int
    messages: int


def traffic(partition: Partition, rank: int, rows: Rows, *, sent: bool = False) -> Traffic:
    """What one process receives or sends in a forward pass."""
    total = messages = 0
    for peer in range(len(partition.owners)):
        pair = (rank, peer) if sent else (peer, rank)
        transfer = partition.transfer(*pair)
        if transfer is not None:
            total += count(transfer.keys) * rows.keys + count(transfer.queries) * rows.queries
            messages += 1
    return Traffic(total, messages)


class Estimate(NamedTuple):
    """Estimate for a process in the middle of a grid."""

    grid: tuple[int, ...]
    traffic: Traffic
    seconds: float  # of computation in the forward pass
    network: float  # seconds of the exchange
    hidden: float  # fraction of the exchange that overlaps with computing inner queries


def estimate(
    sizes: Sequence[int],
    kernel: Sequence[int],
    grid: Sequence[int],
    *,
    heads: int = 8,
    dim: int = 64,
    itemsize: int = 4,
    dilation: int = 1,
    causal: bool = False,
    flops: float = 1e12,
    network: tuple[float, float] = NETWORKS["10gbe"],
) -> Estimate:
    """Estimate the process with the most neighbors; `flops`: operations per second per process."""
    from ._geometry import share

    window = make_window(len(sizes), tuple(kernel), dilation, 1, causal)
    partition = partition_of(window, sizes, grid)
    rank = 0
    for parts in grid:
        rank = rank * parts + min(parts // 2, parts - 1)
    moved = traffic(partition, rank, Rows(2 * heads * dim * itemsize, heads * dim * itemsize))
    mine = share(partition, rank)
    per_query = 4 * heads * dim * prod(kernel) / flops
    inner = 0 if mine.inner is None else count(mine.inner.outputs)
    latency, bandwidth = network
    exchange = moved.messages * latency + moved.bytes / bandwidth
    hidden = min(1.0, inner * per_query / exchange) if exchange else 1.0
    return Estimate(tuple(grid), moved, count(mine.outputs) * per_query, exchange, hidden)


def grids(processes: int, axes: int) -> Iterator[tuple[int, ...]]:
    """All arrangements of the processes along the axes."""
    if axes == 1:
        yield (processes,)
        return
    for parts in range(1, processes + 1):
        if processes % parts == 0:
            yield from ((parts, *rest) for rest in grids(processes // parts, axes - 1))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        values = ()
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} (want positive integers like 64x64)")
    return values


def _line(e: Estimate) -> str:
    grid = "x".join(map(str, e.grid))
    return (
        f"{grid:>12}  {e.traffic.bytes / 1e6:10.3f} MB  {e.traffic.messages:3} messages "
        f" compute {e.seconds * 1e3:9.3f} ms  exchange {e.network * 1e3:9.3f} ms "
        f" hidden {e.hidden:4.0%}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what a grid sends, and the grid with the same number of processes that sends least."""
    parser = argparse.ArgumentParser(prog="python -m natten_mps.distributed.plan")
    parser.add_argument("size", type=_numbers, help="of the whole axes, like 64x128x128")
    parser.add_argument("kernel", type=_numbers, help="one number, or one per axis")
    parser.add_argument("grid", type=_numbers, help="processes along each axis, like 2x4x4")
    parser.add_argument("--dilation", type=int, default=1)
    parser.add_argument("--causal", action="store_true")
    parser.add_argument("--heads", type=int, default=8, help="of queries and of keys")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--itemsize", type=int, default=4, help="bytes of an element")
    parser.add_argument("--flops", type=float, default=1e12, help="per second and process")
    parser.add_argument("--network", choices=NETWORKS, default="10gbe")
    options = parser.parse_args(arguments)
    axes = len(options.size)
    kernel = options.kernel * axes if len(options.kernel) == 1 else options.kernel
    if len(kernel) != axes or len(options.grid) != axes:
        parser.error(f"kernel and grid want {axes} numbers, as many as the size")
    rules = {
        "heads": options.heads,
        "dim": options.dim,
        "itemsize": options.itemsize,
        "dilation": options.dilation,
        "causal": options.causal,
        "flops": options.flops,
        "network": NETWORKS[options.network],
    }
    print("one process in the middle, forward:")
    print(_line(estimate(options.size, kernel, options.grid, **rules)))
    every = [
        estimate(options.size, kernel, grid, **rules)
        for grid in grids(prod(options.grid), axes)
        if all(parts <= n for parts, n in zip(grid, options.size, strict=True))
    ]
    print("least bytes of as many processes:")
    print(_line(min(every, key=lambda e: (e.traffic.bytes, e.traffic.messages))))


if __name__ == "__main__":
    main()
