# SPDX-License-Identifier: MIT
"""`python -m natten_mps.bench`: times forward and backward passes and compares backends."""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import torch

from . import backend, functional, modules
from .version import __version__


class Row(NamedTuple):
    """One problem: a function of `functional` on `[B, *S, H, D]` tensors."""

    name: str
    shape: tuple[int, ...]
    kernel: int | tuple[int, ...]
    options: dict[str, Any] = {}  # noqa: RUF012 - never modified

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape) - 3


_CAUSAL_2D = {"is_causal": (True, True)}
_CAUSAL_3D = {"is_causal": (True, True, True)}

#: The rows of the benchmark of natten-mps; its README lists the first six.
ROWS = (
    Row("1D L=256 K=7", (4, 256, 8, 64), 7),
    Row("1D L=1024 K=7", (4, 1024, 8, 64), 7),
    Row("2D 32x32 K=7", (2, 32, 32, 4, 64), 7),
    Row("2D 64x64 K=7", (2, 64, 64, 4, 64), 7),
    Row("2D 32x32 K=7 causal", (2, 32, 32, 4, 64), 7, _CAUSAL_2D),
    Row("3D 16x16x16 K=3", (1, 16, 16, 16, 2, 32), 3),
    Row("1D L=64 K=7", (4, 64, 8, 64), 7),
    Row("1D L=256 K=3", (4, 256, 8, 64), 3),
    Row("1D L=256 K=13", (4, 256, 8, 64), 13),
    Row("1D L=256 K=7 causal", (4, 256, 8, 64), 7, {"is_causal": True}),
    Row("1D L=256 K=7 stride=2", (4, 256, 8, 64), 7, {"stride": 2}),
    Row("1D L=256 K=7 causal stride=2", (4, 256, 8, 64), 7, {"is_causal": True, "stride": 2}),
    Row("1D L=256 K=7 dilation=2", (4, 256, 8, 64), 7, {"dilation": 2}),
    Row("2D 16x16 K=7", (2, 16, 16, 4, 64), 7),
    Row("2D 32x32 K=3", (2, 32, 32, 4, 64), 3),
    Row("2D 32x32 K=13", (2, 32, 32, 4, 64), 13),
    Row("2D 32x32 K=7 stride=2", (2, 32, 32, 4, 64), 7, {"stride": 2}),
    Row("2D 32x32 K=7 causal stride=2", (2, 32, 32, 4, 64), 7, {**_CAUSAL_2D, "stride": 2}),
    Row("2D 32x32 K=(3,7)", (2, 32, 32, 4, 64), (3, 7)),
    Row("2D 32x32 K=7 dilation=(1,2)", (2, 32, 32, 4, 64), 7, {"dilation": (1, 2)}),
    Row("3D 8x8x8 K=3", (1, 8, 8, 8, 2, 32), 3),
    Row("3D 8x8x8 K=5", (1, 8, 8, 8, 2, 32), 5),
    Row("3D 8x8x8 K=3 causal", (1, 8, 8, 8, 2, 32), 3, _CAUSAL_3D),
    Row("3D 8x8x8 K=3 stride=2", (1, 8, 8, 8, 2, 32), 3, {"stride": 2}),
    Row("3D 8x8x8 K=3 causal stride=2", (1, 8, 8, 8, 2, 32), 3, {**_CAUSAL_3D, "stride": 2}),
    Row("3D 8x8x8 K=(3,5,3)", (1, 8, 8, 8, 2, 32), (3, 5, 3)),
)
QUICK = 6


def synchronize(device: str) -> None:
    """Wait until a device has finished all submitted work."""
    if device == "mps":
        torch.mps.synchronize()


def milliseconds(work: Callable[[], object], device: str, warmup: int, repeats: int) -> float:
    """Median time of one call in milliseconds."""
    for _ in range(warmup):
        work()
    times = []
    for _ in range(repeats):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - started)
    return median(times) * 1e3


def time_row(row: Row, name: str, options: argparse.Namespace) -> dict[str, float]:
    """Times in ms of a row on a backend: forward, and with --backward the backward pass alone."""
    backend.set_backend(name)
    dtype = getattr(torch, options.dtype)
    tensors = [
        torch.randn(row.shape).to(options.device, dtype).requires_grad_(options.backward)
        for _ in range(3)
    ]
    function = getattr(functional, f"na{row.rank}d")

    def forward() -> Any:
        return function(*tensors, row.kernel, **row.options)

    def measure(work: Callable[[], object]) -> float:
        return milliseconds(work, options.device, options.warmup, options.repeats)

    found = {"forward": measure(forward)}
    if options.backward:
        out = forward()
        gradient = torch.randn_like(out)
        found["backward"] = measure(
            lambda: torch.autograd.grad(out, tensors, gradient, retain_graph=True)
        )
    return found


#: A problem so small that only the call overhead matters: [B, L, H, D] and the window.
SMALL, SMALL_KERNEL = (1, 16, 1, 8), 7


def overhead(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Call overhead in microseconds on a tiny problem, per backend: the minimum of many runs."""
    q = torch.randn(SMALL).to(options.device)
    leaf = q.clone().requires_grad_()
    module = modules.NeighborhoodAttention1D(SMALL[-1], SMALL[-2], SMALL_KERNEL).to(options.device)
    x = q.flatten(-2)
    found = {}
    for name in options.backend:
        backend.set_backend(name)
        torch.compiler.reset()
        compiled = torch.compile(module, fullgraph=True)
        calls: dict[str, Callable[[], object]] = {
            "op": lambda: functional.na1d(q, q, q, SMALL_KERNEL),
            "op with gradients": lambda: functional.na1d(leaf, leaf, leaf, SMALL_KERNEL),
            "module": lambda: module(x),
            "compiled module": lambda run=compiled: run(x),  # type: ignore[misc]
        }
        found[name] = {what: _least_microseconds(call, options) for what, call in calls.items()}
    return found


def _least_microseconds(call: Callable[[], object], options: argparse.Namespace) -> float:
    """The smallest of several means over 20 calls each; the first calls also compile."""
    least = float("inf")
    for _ in range(options.warmup + 2 * options.repeats):
        synchronize(options.device)
        started = time.perf_counter()
        for _ in range(20):
            call()
        synchronize(options.device)
        least = min(least, (time.perf_counter() - started) / 20)
    return least * 1e6


def overhead_table(found: dict[str, dict[str, float]]) -> str:
    """Format the overheads as text."""
    lines = [f"one call of na1d, {list(SMALL)}, K={SMALL_KERNEL}; least, us"]
    lines.append(f"{'':<20}" + "".join(f"{name:>12}" for name in found))
    for what in next(iter(found.values())):
        lines.append(f"{what:<20}" + "".join(f"{found[name][what]:>12.1f}" for name in found))
    return "\n".join(lines)


class Progress:
    """A progress bar on stderr, if that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._shown = sys.stderr.isatty()

    def step(self, what: str) -> None:
        """Show that `what` has started."""
        if self._shown:
            filled = 24 * self._done // self._total
            bar = "#" * filled + "-" * (24 - filled)
            sys.stderr.write(f"\r\x1b[K[{bar}] {self._done}/{self._total} {what}")
            sys.stderr.flush()
        self._done += 1

    def close(self) -> None:
        """Remove the bar."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Time all selected rows on all selected backends."""
    rows = [r for r in ROWS[: None if options.all else QUICK] if options.filter in r.name]
    if not rows:
        raise SystemExit(f"bench: no row contains {options.filter!r} (see --list)")
    progress = Progress(len(rows) * len(options.backend))
    torch.manual_seed(0)
    results = []
    for row in rows:
        times = {}
        for name in options.backend:
            progress.step(f"{row.name} on {name}")
            times[name] = time_row(row, name, options)
        results.append({"name": row.name, "shape": row.shape, "times_ms": times})
    progress.close()
    return {
        "natten_mps": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {platform.system()}",
        "threads": torch.get_num_threads(),
        "device": options.device,
        "dtype": options.dtype,
        "rows": results,
    }


def table(report: dict[str, Any], backends: list[str]) -> str:
    """Format the report: one column per backend and direction, and the speedup of the first."""
    passes = list(report["rows"][0]["times_ms"][backends[0]])
    heads = [f"{b} {p}" for p in passes for b in backends]
    if len(backends) > 1:
        heads += [f"{backends[1]}/{backends[0]} {p}" for p in passes]
    lines = [
        f"natten_mps {report['natten_mps']}, torch {report['torch']}, {report['machine']},"
        f" {report['threads']} threads, {report['device']}, {report['dtype']}; median, ms",
        f"{'row':<32}" + "".join(f"{h:>24}" for h in heads),
    ]
    for row in report["rows"]:
        times = row["times_ms"]
        cells = [f"{times[b][p]:.3f}" for p in passes for b in backends]
        if len(backends) > 1:
            first, second = backends[:2]
            cells += [f"{times[second][p] / times[first][p]:.1f}x" for p in passes]
        lines.append(f"{row['name']:<32}" + "".join(f"{c:>24}" for c in cells))
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Build the command-line parser."""
    p = argparse.ArgumentParser(
        prog="python -m natten_mps.bench",
        description="Time neighborhood attention, backends side by side in one run.",
        epilog="Example: python -m natten_mps.bench --backward --backend native pure --filter 2D",
    )
    p.add_argument(
        "--backend",
        nargs="+",
        default=None,
        metavar="NAME",
        help="backends to compare: auto, native, pure, metal (default: the best one and pure)",
    )
    p.add_argument("--backward", action="store_true", help="time the backward pass too")
    p.add_argument(
        "--overhead", action="store_true", help="time calls on a tiny problem, not the rows"
    )
    p.add_argument("--all", action="store_true", help=f"all {len(ROWS)} rows, not {QUICK}")
    p.add_argument("--filter", default="", metavar="TEXT", help="only rows that contain TEXT")
    p.add_argument("--list", action="store_true", help="print the rows and stop")
    p.add_argument("--json", action="store_true", help="print the report as JSON")
    p.add_argument("--device", default=None, help="cpu or mps (default: mps if there is one)")
    p.add_argument(
        "--dtype", default="float32", choices=("float32", "float16", "bfloat16", "float64")
    )
    p.add_argument("--warmup", type=_count, default=5, help="calls before timing (default 5)")
    p.add_argument("--repeats", type=_count, default=20, help="timed calls (default 20)")
    return p


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no count (want 1 or more)")
    return int(text)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    p = parser()
    options = p.parse_args(arguments)
    options.all = options.all or options.list
    if options.list:
        print("\n".join(row.name for row in ROWS))
        return
    options.device = options.device or ("mps" if backend.has_mps() else "cpu")
    options.backend = options.backend or _default_backends(options.device)
    before = backend.choice
    try:
        report = overhead(options) if options.overhead else measure(options)
    except (ValueError, NotImplementedError, RuntimeError) as error:
        p.error(str(error))
    finally:
        backend.choice = before
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        print(overhead_table(report) if options.overhead else table(report, options.backend))


def _default_backends(device: str) -> list[str]:
    best = {"cpu": "native", "mps": "metal"}.get(device, "pure")
    return [best, "pure"] if backend.available(best) and best != "pure" else ["pure"]


if __name__ == "__main__":
    main()
