# SPDX-License-Identifier: MIT
"""What a call costs: op, module and compiled module on a problem of 16 tokens.

    .venv/bin/python tests/bench/overhead.py [--peer FOLDER]

FOLDER is where `pip install --no-deps --target FOLDER natten-mps==0.3.3` put the predecessor. Each
contender is a process of its own; they take turns, and a figure is the median of all turns' calls.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

LENGTH, HEADS, DIM, KERNEL = 16, 1, 8, 7
CALLS = 200


def calls() -> dict[str, Callable[[], object]]:
    """What is timed; of this natten_mps and of 0.3.3 alike."""
    import torch

    import natten_mps

    torch.set_num_threads(1)
    q = torch.randn(1, LENGTH, HEADS, DIM)
    leaf = q.clone().requires_grad_()
    module = natten_mps.NeighborhoodAttention1D(DIM * HEADS, HEADS, KERNEL)
    compiled = torch.compile(module)
    x = q.flatten(-2)

    def step() -> None:
        natten_mps.na1d(leaf, leaf, leaf, kernel_size=KERNEL).sum().backward()
        leaf.grad = None

    return {
        "op": lambda: natten_mps.na1d(q, q, q, kernel_size=KERNEL),
        "op, forward and backward": step,
        "module": lambda: module(x),
        "compiled module": lambda: compiled(x),
    }


def work() -> None:
    """Print the version, then answer each line of input with the microseconds of CALLS calls."""
    timed = calls()
    print(sys.modules["natten_mps"].__version__, flush=True)
    for call in timed.values():
        for _ in range(20):
            call()
    for _ in sys.stdin:
        found = {}
        for name, call in timed.items():
            found[name] = []
            for _ in range(CALLS):
                started = time.perf_counter()
                call()
                found[name].append(1e6 * (time.perf_counter() - started))
        print(json.dumps(found), flush=True)


def contender(backend: str, folder: Path) -> subprocess.Popen[str]:
    """A process that times the natten_mps of a folder."""
    environment = {**os.environ, "NATTEN_BACKEND": backend, "PYTHONPATH": str(folder)}
    return subprocess.Popen(
        [sys.executable, __file__, "--work"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def measure(contenders: dict[str, subprocess.Popen[str]], rounds: int) -> dict[str, dict]:
    """Median microseconds of each contender and call, the contenders taking turns."""
    times: dict[str, dict[str, list[float]]] = {name: {} for name in contenders}
    for _ in range(rounds):
        for name, process in contenders.items():
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"overhead: '{name}' ended with {process.wait()}")
            for what, values in json.loads(line).items():
                times[name].setdefault(what, []).extend(values)
    return {
        name: {what: statistics.median(values) for what, values in rows.items()}
        for name, rows in times.items()
    }


def main() -> None:
    """Time all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, metavar="FOLDER", help="where natten-mps 0.3.3 is")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work()
        return
    here = Path(__file__).resolve().parents[2] / "python"
    contenders = {name: contender(name, here) for name in ("native", "pure")}
    if options.peer is not None:
        contenders["0.3.3 pure"] = contender("pure", options.peer)
    for name, process in contenders.items():
        version = process.stdout.readline().strip()
        if name.startswith("0.3.3") != (version == "0.3.3"):
            raise SystemExit(f"overhead: '{name}' is natten_mps {version or 'of no version'}")
    found = measure(contenders, options.rounds)
    for process in contenders.values():
        process.stdin.close()
        process.wait()
    print(
        f"na1d, L={LENGTH} H={HEADS} D={DIM} K={KERNEL}; median us, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':<26}" + "".join(f"{name:>12}" for name in found))
    for what in found["native"]:
        print(f"{what:<26}" + "".join(f"{found[name][what]:>12.1f}" for name in found))


if __name__ == "__main__":
    main()
