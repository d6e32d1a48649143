# SPDX-License-Identifier: MIT
"""One problem in one process, and divided over several on this machine: forward and backward.

Each repeat runs both, one after the other, between barriers; the table has the medians, their
ratio, and how long a process was busy with the exchange (packing and putting rows in place) or
waited for it, on average. Results are compared before anything is timed.
"""

import argparse
import statistics
import tempfile
import time
from datetime import timedelta

import torch
from torch import distributed as dist
from torch import multiprocessing

import natten_mps
from natten_mps import distributed
from natten_mps.distributed._exchange import Exchange
from natten_mps.distributed._geometry import grid_boxes

#: name -> positions, kernel, grid of 8 processes
PROBLEMS = {
    "1d": ((262144,), (127,), (8,)),
    "2d": ((512, 512), (13, 13), (4, 2)),
    "3d": ((32, 64, 64), (7, 7, 7), (2, 2, 2)),
}
HEADS, DIM = 8, 64


class Clock:
    """Seconds spent in the methods of Exchange."""

    def __init__(self):
        self.moving = self.waiting = 0.0
        for name in ("pack", "collect", "scatter", "gather", "split", "unite", "launch", "arrived"):
            setattr(Exchange, name, self._timed(getattr(Exchange, name), name == "arrived"))

    def _timed(self, method, waits):
        def timed(*arguments, **options):
            begun = time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                spent = time.perf_counter() - begun
                if waits:
                    self.waiting += spent
                else:
                    self.moving += spent

        return timed


def _step(function, tensors, weight, *args, **options):
    leaves = [t.detach().requires_grad_() for t in tensors]
    out = function(*leaves, *args, **options)
    return [out.detach(), *torch.autograd.grad(out, leaves, weight)]


def _between_barriers(work):
    dist.barrier()
    begun = time.perf_counter()
    result = work()
    dist.barrier()
    return time.perf_counter() - begun, result


def _measure(rank, size, name, scale, repeats):
    lengths, kernel, grid = PROBLEMS[name]
    lengths = tuple(n // scale for n in lengths)
    grid = grid if size == 8 else (size,) + (1,) * (len(lengths) - 1)
    torch.manual_seed(0)
    whole = [torch.randn(1, *lengths, HEADS, DIM) for _ in range(4)]
    box = (slice(None), *(slice(p.start, p.stop) for p in grid_boxes(lengths, grid)[rank]))
    local = [t[box].contiguous() for t in whole]
    whole = whole if rank == 0 else None
    plain = getattr(natten_mps, f"na{len(lengths)}d")
    spread = getattr(distributed, f"na{len(lengths)}d")

    def one():
        return _step(plain, whole[:3], whole[3], kernel) if rank == 0 else None

    def many():
        return _step(spread, local[:3], local[3], kernel, full_size=lengths, grid=grid)

    want, found = one(), many()
    if rank == 0:
        for got, wanted in zip(found, want, strict=True):
            torch.testing.assert_close(got, wanted[box], rtol=1e-3, atol=1e-4)
    del want, found
    clock, alone, together = Clock(), [], []
    for _ in range(repeats):
        alone.append(_between_barriers(one)[0])
        together.append(_between_barriers(many)[0])
    spent = torch.tensor([clock.moving, clock.waiting]) / (repeats * statistics.median(together))
    dist.all_reduce(spent)
    if rank == 0:
        a, b = statistics.median(alone), statistics.median(together)
        moving, waiting = (spent / size).tolist()
        print(
            f"{name} {'x'.join(map(str, lengths))} kernel {kernel[0]} grid {grid}:"
            f" one {a:.2f} s, {size} processes {b:.3f} s, ratio {a / b:.2f};"
            f" exchange: moving rows {moving:.1%}, waiting {waiting:.1%} of the time",
            flush=True,
        )


def _work(rank, options, store):
    torch.set_num_threads(options.threads)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=options.processes,
        timeout=timedelta(seconds=300),
    )
    for name in options.problems:
        _measure(rank, options.processes, name, options.scale, options.repeats)
    dist.destroy_process_group()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", choices=PROBLEMS, default=["2d"])
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=int, default=1, help="divides every length, for a try")
    options = parser.parse_args()
    options.problems = options.problems or ["2d"]
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_work, (options, f"{folder}/store"), options.processes)


if __name__ == "__main__":
    main()
