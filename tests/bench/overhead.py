# SPDX-License-Identifier: MIT
"""What a call costs: op, module, compiled module and the op of other generations of NATTEN, on a
problem of 16 tokens.

`./build.sh bench call` installs the predecessor, natten-mps 0.3.3, and times both. Each contender
is a process of its own, started several times; they take turns, and a figure is the median of all
calls.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from processor import describe_machine
from readme import PERFORMANCE, fill

LENGTH, HEADS, DIM, KERNEL = 16, 1, 8, 7
#: Versions of NATTEN whose functions of their own are timed.
GENERATIONS = ("0.17.5", "0.21.7")
CALLS = 200
PEER = "natten-mps 0.3.3"


def calls() -> dict[str, Callable[[], object]]:
    """What is timed, in this natten_mps and in 0.3.3."""
    import torch

    import natten_mps

    torch.set_num_threads(1)
    q = torch.randn(1, LENGTH, HEADS, DIM)
    leaf = q.clone().requires_grad_()
    module = natten_mps.NeighborhoodAttention1D(DIM * HEADS, HEADS, KERNEL)
    compiled = torch.compile(module)
    x = q.flatten(-2)

    def step(call: Callable[[], torch.Tensor]) -> None:
        call().sum().backward()
        leaf.grad = None
        module.zero_grad()

    def infer() -> None:
        with torch.no_grad():
            compiled(x)

    found = {
        "op": lambda: natten_mps.na1d(q, q, q, kernel_size=KERNEL),
        "op, forward and backward": lambda: step(
            lambda: natten_mps.na1d(leaf, leaf, leaf, kernel_size=KERNEL)
        ),
        "module": lambda: module(x),
        "compiled module": lambda: compiled(x),
        "compiled module, no_grad": infer,
        "compiled module, training": lambda: step(lambda: compiled(x)),
    }
    for version in GENERATIONS:
        function = generation(version)
        if function is not None:
            found[f"op of compat {version}"] = partial(function, q, q, q, KERNEL)
    return found


def generation(version: str) -> Callable[..., object] | None:
    """na1d as a program for a version of NATTEN calls it; None if the version lacks it."""
    from natten_mps import compat

    try:
        module = compat.for_version(version)
        return getattr(module, "functional", module).na1d
    except (ImportError, AttributeError, ValueError):
        return None


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
    path = os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])
    environment = {**os.environ, "NATTEN_BACKEND": backend, "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, __file__, "--work"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def start(backends: dict[str, tuple[str, Path]]) -> dict[str, subprocess.Popen[str]]:
    """The processes of all contenders, warmed up, each of the version that its name says."""
    started = {name: contender(*about) for name, about in backends.items()}
    for name, process in started.items():
        version = process.stdout.readline().strip()
        if (name == PEER) != (version == "0.3.3"):
            raise SystemExit(f"overhead: '{name}' is natten_mps {version or 'of no version'}")
    return started


def measure(
    contenders: dict[str, subprocess.Popen[str]], rounds: int, times: dict[str, dict]
) -> None:
    """Add the microseconds of each contender's calls, the contenders interleaved."""
    for _ in range(rounds):
        for name, process in contenders.items():
            process.stdin.write("\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"overhead: '{name}' ended with {process.wait()}")
            for what, values in json.loads(line).items():
                times[name].setdefault(what, []).extend(values)
    for process in contenders.values():
        process.stdin.close()
        process.wait()


def markdown(times: dict[str, dict]) -> str:
    """A table of medians."""
    head = [f"na1d, L={LENGTH} H={HEADS} D={DIM} K={KERNEL}", *(f"{name}, us" for name in times)]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * len(times)]
    for what in times["auto"]:
        cells = [
            f"{statistics.median(rows[what]):.1f}" if what in rows else "-"
            for rows in times.values()
        ]
        lines.append("| " + " | ".join([what, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Time all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, metavar="FOLDER", help="where natten-mps 0.3.3 is")
    parser.add_argument("--starts", type=int, default=3, help="processes of each (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each process (default 5)")
    parser.add_argument("--readme", action="store_true", help="write the table into performance.md")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work()
        return
    here = Path(__file__).resolve().parents[2]
    backends = {name: (name, here / "python") for name in ("auto", "pure")}
    if options.peer is not None:
        backends[PEER] = ("pure", options.peer)
    times: dict[str, dict] = {name: {} for name in backends}
    load = os.getloadavg()[0]
    for _ in range(options.starts):
        measure(start(backends), options.rounds, times)
    table = markdown(times)
    print(table)
    if options.readme:
        fill(
            "overhead",
            f"{describe_machine()}, one thread, load {load:.1f} at the start; medians.\n\n{table}",
            PERFORMANCE,
        )


if __name__ == "__main__":
    main()
