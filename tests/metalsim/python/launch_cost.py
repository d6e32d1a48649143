#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a launch costs from Python: an operation on 16 tokens, up to its being encoded.

    NATTEN_BACKEND=metal NATTEN_MPS_TIER=1-block METALSIM_MODE=fast launch_cost.py

with NATTEN_MPS_SIMULATOR and PYTHONPATH as in README.md. Kernels run after the clock has stopped.
"""

import statistics
import time
from collections.abc import Callable

import natten_mps_simulator as sim
import torch

from natten_mps import ops
from natten_mps.utils.window import Window

WINDOW = Window((7,), (1,), (1,), (1,), (False,))
CALLS = 2000
WAIT_EVERY = 100


def main() -> None:
    """Print the medians."""
    torch.set_num_threads(1)
    in_library: list[float] = []

    def timed(run: Callable[[int, bytes, int], int]) -> Callable[[int, bytes, int], int]:
        def call(plan: int, args: bytes, error: int) -> int:
            started = time.perf_counter()
            status = run(plan, args, error)
            in_library.append(time.perf_counter() - started)
            return status

        return call

    sim.Carrier.settled = lambda self, run: timed(run)
    q, k, v = (torch.rand(1, 16, 1, 8) for _ in range(3))
    whole = []
    for i in range(CALLS):
        started = time.perf_counter()
        ops.attn(q, k, v, window=WINDOW)
        whole.append(time.perf_counter() - started)
        if i % WAIT_EVERY == 0:
            sim.synchronize()
    sim.synchronize()
    for name, times in (("operation", whole), ("of it natten_mps_run", in_library)):
        steady = times[CALLS // 10 :]
        low, _, high = statistics.quantiles(steady, n=4)
        middle = statistics.median(steady)
        print(f"{name:<22} {1e6 * middle:6.1f} us (quartiles {1e6 * low:.1f}, {1e6 * high:.1f})")


if __name__ == "__main__":
    main()
