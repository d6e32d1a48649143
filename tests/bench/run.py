# SPDX-License-Identifier: MIT
"""Time the native engine against its baselines: `./build.sh bench [rows|cpu]`.

Every figure of a report comes from one run, in which the contenders are interleaved on
each case; a ratio is a ratio of medians. Before a case is timed, the contenders' results
are compared; a difference ends the run without a report.

`rows` (default) times the six rows of the predecessor's README and the cost of
a call. `cpu` adds one thread, portable Go, flex_attention, a sweep, the limits of
the machine and the cost of a call through C.

FOLDER is where `pip install --no-deps --target FOLDER natten-mps==0.3.3` put the
predecessor; its own `pure` then is a contender on the six rows.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cases import BACKWARD_FACTOR, CALL, ROWS, SWEEP, Case
from processor import describe_machine
from readme import fill
from report import ONE_THREAD, PEAK, PEER, compact, markdown, plot

HERE = Path(__file__).resolve().parent
ISAS = "avx512,avx2,neon"
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
            Contender(ONE_THREAD, here, [], NATTEN_BACKEND="native", OMP_NUM_THREADS="1"),
            Contender("portable Go", here, [], NATTEN_BACKEND="native", NATTEN_DISABLE_ISA=ISAS),
            Contender("flex_attention", here, ["flex"]),
        ]
    if options.peer is not None:
        folder = str(options.peer.resolve())
        contenders.append(Contender(PEER, here, [], NATTEN_BACKEND="pure", PYTHONPATH=folder))
        if contenders[-1].about["natten_mps"] != "0.3.3":
            raise SystemExit(f"bench: {folder} has natten-mps {contenders[-1].about['natten_mps']}")
    return contenders


def wants(contender: Contender, case: Case, backward: bool) -> bool:
    """Return whether a contender takes part: slow and special ones run only the six rows."""
    if contender.name in ("native", "pure", ONE_THREAD):
        return True
    if contender.name == "flex_attention" and backward:
        return False  # torch: "FlexAttention does not support backward on CPU"
    return case in ROWS or (contender.name == PEER and case is CALL)


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
    """Medians of one case, the contenders interleaved."""
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
        "least_ms": {name: 1e3 * min(values) for name, values in seconds.items()},
        "samples": {name: len(values) for name, values in seconds.items()},
        "peak_mib": peak,
        "gflop": case.forward_flops * (1 + BACKWARD_FACTOR * backward) / 1e9,
        "mb": case.bytes(backward) / 1e6,
        "not_run": notes,
    }


def machine_limits() -> dict[str, float]:
    """Run the Go benchmarks of a register FMA peak, GFLOP/s of one core, and of copies on all
    cores, GB/s by megabytes of what is read and written."""
    command = ["go", "test", "-run", "^$", "-bench", "^Benchmark(Peak|Copy)$", "./core/cpu"]
    done = subprocess.run(command, cwd=HERE.parents[1], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(command)} ended with {done.returncode}")
    text, found = done.stdout, {}
    peak = re.search(r"^BenchmarkPeak\b.*?([\d.]+) GFLOP/s", text, re.M)
    if peak:
        found[PEAK] = float(peak[1])
    for size, rate in re.findall(r"^BenchmarkCopy/(\d+)MB\b.*?([\d.]+) MB/s", text, re.M):
        found[size] = 1e-3 * float(rate)
    return found if peak else {}  # without SIMD kernels there is no peak


def c_calls() -> list[float]:
    """Microseconds of a call through C with a plan, forward and backward; nothing without a C
    compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return []
    root, library = HERE.parents[1], HERE.parents[1] / "python" / "natten_mps" / "lib"
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/call"
        build = [compiler, "-O2", f"-I{root / 'include'}", "-o", program, str(HERE / "call.c")]
        link = [f"-L{library}", "-lnatten_mps", f"-Wl,-rpath,{library}"]
        subprocess.run([*build, *link], check=True)
        done = subprocess.run([program], capture_output=True, text=True, check=True)
    return [float(x) for x in done.stdout.split()]


def command_line(options: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    hidden = {str(options.peer): "FOLDER", str(options.out): "FOLDER"}
    return " ".join(["./build.sh bench", *(hidden.get(a, a) for a in sys.argv[1:])])


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
    parser.add_argument("--peer", type=Path, metavar="FOLDER", help="where natten-mps 0.3.3 is")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has TEXT")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="write six rows into README.md, the suite's table and plot next to this file",
    )
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
    limits = machine_limits() if options.suite == "cpu" else {}
    cases = [CALL, *ROWS, *(SWEEP if options.suite == "cpu" else [])]
    cases = [case for case in cases if options.only in case.name]
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
        "limits": limits,
        "c_us": c_calls() if options.suite == "cpu" else [],
        "command": command_line(options),
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
        fill("speed", compact(report))
        (HERE / "speed.md").write_text(f"# `./build.sh bench {options.suite}`\n\n{table}")
        plot(report, HERE / "speed.png")
    print(f"written: {options.out}/{options.suite}.json, .md, .png")


if __name__ == "__main__":
    main()
