# SPDX-License-Identifier: MIT
"""Time the native engine against its baselines: `./build.sh bench [rows|cpu]`.

Every figure of a report comes from one run: the contenders take turns on each
case, and a ratio is a ratio of medians. Before a case is timed, its results are
compared between the contenders; a difference ends the run without a report.

`rows` (default) times the six rows of the predecessor's README and the cost of
a call. `cpu` adds one thread, portable Go, flex_attention, and a sweep.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from cases import BACKWARD_FACTOR, CALL, ROWS, SWEEP, Case
from processor import describe_machine
from readme import fill
from report import COPY, PEAK, markdown, plot

HERE = Path(__file__).resolve().parent
TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}


class Contender:
    """A worker process: who is timed, in an environment of its own."""

    def __init__(self, name: str, python: str, arguments: list[str], **environment: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.about = self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: the worker '{self.name}' ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the worker."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def start(options: argparse.Namespace) -> list[Contender]:
    """Start the contenders of a suite; `native` first, `pure` second."""
    here = sys.executable
    contenders = [
        Contender("native", here, [], NATTEN_BACKEND="native"),
        Contender("pure", here, [], NATTEN_BACKEND="pure"),
    ]
    if options.suite == "cpu":
        contenders += [
            Contender("native, 1 thread", here, [], NATTEN_BACKEND="native", OMP_NUM_THREADS="1"),
            Contender(
                "portable Go", here, [], NATTEN_BACKEND="native", NATTEN_DISABLE_ISA="avx2,neon"
            ),
            Contender("flex_attention", here, ["flex"]),
        ]
    if options.peer_python:
        contenders.append(
            Contender("natten-mps 0.3.3 pure", options.peer_python, [], NATTEN_BACKEND="pure")
        )
    return contenders


def wants(contender: Contender, case: Case, backward: bool) -> bool:
    """Say whether a contender takes part: the slow and the special ones run the six rows only."""
    if contender.name in ("native", "pure"):
        return True
    if contender.name == "flex_attention" and backward:
        return False  # torch: "FlexAttention does not support backward on CPU"
    return case in ROWS


def agree(name: str, case: Case, want: list[float], got: list[float]) -> None:
    """End the run if two contenders' results differ."""
    scale = max(abs(x) for x in want)
    worst = max(abs(a - b) for a, b in zip(want, got, strict=True)) / scale
    if not worst <= TOLERANCE[case.dtype]:
        raise SystemExit(
            f"bench: {name} and native differ by {worst:.1e} on {case.name}; no report"
        )


def time_case(
    contenders: list[Contender], case: Case, backward: bool, options: argparse.Namespace
) -> dict[str, Any]:
    """Medians of one case, the contenders taking turns."""
    taking_part = [c for c in contenders if wants(c, case, backward)]
    seconds: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    peak: dict[str, float] = {}
    reference: list[float] = []
    for contender in list(taking_part):
        first = contender.ask(case.request(backward, calls=1))
        if "error" in first:
            notes[contender.name] = first["error"]
            taking_part.remove(contender)
            continue
        reference = reference or first["sample"]
        agree(contender.name, case, reference, first["sample"])
        peak[contender.name] = first["peak_mib"]
        seconds[contender.name] = []
    fast = 200 if case is CALL else 10
    for _ in range(options.rounds):
        for contender in taking_part:
            slow = seconds[contender.name] and max(seconds[contender.name]) > 0.2
            answer = contender.ask(case.request(backward, calls=1 if slow else fast))
            seconds[contender.name] += answer["seconds"]
    return {
        "case": case.name,
        "backward": backward,
        "ms": {name: 1e3 * statistics.median(values) for name, values in seconds.items()},
        "samples": {name: len(values) for name, values in seconds.items()},
        "peak_mib": peak,
        "gflop": case.forward_flops * (1 + BACKWARD_FACTOR * backward) / 1e9,
        "forward_mb": case.forward_bytes / 1e6,
        "not_run": notes,
    }


def machine_limits() -> dict[str, float]:
    """Run the Go benchmarks of a register FMA peak and a copy; GFLOP/s and GB/s, one core."""
    command = ["go", "test", "-run", "^$", "-bench", "^Benchmark(Peak|Copy)$", "./core/cpu"]
    text = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True).stdout
    found = {}
    for unit, name, factor in (
        ("GFLOP/s", PEAK, 1.0),
        ("MB/s", COPY, 1e-3),
    ):
        match = re.search(rf"([\d.]+) {unit}", text)
        if match:
            found[name] = factor * float(match.group(1))
    return found if len(found) == 2 else {}  # without SIMD kernels there is no peak


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="./build.sh bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", nargs="?", choices=["rows", "cpu"], default="rows")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender (default 5)")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of reports")
    parser.add_argument(
        "--peer-python",
        metavar="PYTHON",
        help="a Python in whose environment natten-mps 0.3.3 is installed",
    )
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    return parser.parse_args()


def main() -> None:
    """Run a suite and write its report as JSON, Markdown and a plot."""
    options = parse()
    import natten_mps

    try:
        natten_mps.set_backend("native")
    except NotImplementedError as error:
        raise SystemExit(f"bench: nothing to time: {error}") from error
    load = os.getloadavg()[0]
    cases = [CALL, *ROWS, *(SWEEP if options.suite == "cpu" else [])]
    contenders = start(options)
    results = []
    for number, case in enumerate(cases, 1):
        for backward in (False, True):
            result = time_case(contenders, case, backward, options)
            results.append(result)
            native, pure = result["ms"]["native"], result["ms"]["pure"]
            print(
                f"[{number}/{len(cases)}] {case.name:28} {'fwd+bwd' if backward else 'forward':8}"
                f"native {native:9.3f} ms  pure {pure:9.2f} ms  {pure / native:6.1f} times  "
                f"{result['gflop'] / native * 1e3:6.1f} GFLOP/s",
                flush=True,
            )
    for contender in contenders:
        contender.close()
    report = {
        "machine": f"{describe_machine()}, load {load:.1f} at the start",
        "contenders": {c.name: c.about for c in contenders},
        "limits": machine_limits() if options.suite == "cpu" else {},
        "command": "./build.sh bench " + " ".join(sys.argv[1:]),
        "version": natten_mps.__version__,
        "results": results,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{options.suite}.json").write_text(json.dumps(report, indent=2) + "\n")
    table = markdown(report)
    (options.out / f"{options.suite}.md").write_text(table)
    plot(report, options.out / f"{options.suite}.png")
    print("\n" + table)
    if options.readme:
        fill("speed", table)
    print(f"written: {options.out}/{options.suite}.json, .md, .png")


if __name__ == "__main__":
    main()
