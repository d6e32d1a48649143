#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Predict times on Apple GPUs, as a table and a picture.

    roofline.py DIR [--plot FILE.png]

DIR is what `NATTEN_GPU_BENCH=DIR go test ./core/metal -run TestExportBenchmarks` wrote. This is a
model, not a measurement: nobody has run these kernels on an Apple GPU. It takes the longest of

- memory: each tensor once, in a backward pass of two kernels 1.5 times, as traffic.py counts on an
  H100, at the bandwidth that Apple publishes;
- arithmetic: the instructions of the hot loops (census.py) at the rates of the metal-benchmarks
  project: a core and cycle 128 simple ones, 32 exponentials or integer multiplications, 64
  shuffles;
- loads of the hot loops at 64 bytes a core and cycle, if the first cache has them, or at 32, what
  the second cache gives, if it never has ("no L1": M1 and M2 have 8 KB of it);

and adds 10 us a launch. What is left out: prologues, borders (every window has its full size),
latencies that too few simdgroups do not hide, and spilled registers.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from census import Loop, hot_loop

LAUNCH_MS = 0.01
# Bytes that a backward pass of two kernels moves, relative to reading and writing each tensor once.
TWICE_READ = 1.5
# Work of attn_bwd_strip relative to its hot loop, which has two of the five products.
STRIP = 5 / 2


class Chip(NamedTuple):
    """GPU cores, clock in GHz, memory in GB/s."""

    cores: int
    clock: float
    bandwidth: float

    @property
    def gflops(self) -> float:
        """Multiply-adds count as two operations."""
        return 256 * self.cores * self.clock


CHIPS = {"M1": Chip(8, 1.278, 68), "M1 Max": Chip(32, 1.296, 400), "M4 Max": Chip(40, 1.58, 546)}
# Forward times in ms that natten-mps 0.3.3 publishes for an M4 Max, float32.
PUBLISHED = {
    "1d-l256-k7": 0.9,
    "1d-l1024-k7": 1.1,
    "2d-32x32-k7": 1.3,
    "2d-64x64-k7": 2.9,
    "2d-32x32-k7-causal": 1.1,
    "3d-16x16x16-k3": 1.7,
}
# Operations per query, key and channel: two products forward; four, and two again, backward.
OPERATIONS = {"attn_forward": 4, "attn_backward": 14}


class Prediction(NamedTuple):
    """Milliseconds, what bounds them, and milliseconds if the first cache never hits."""

    ms: float
    bound: str
    no_cache: float


def turns(ptx: str, row: dict[str, Any]) -> float:
    """Turns of a kernel's hot loop, of all lanes: over the union of the windows of a lane group."""
    lanes = int(re.search(r"_g(\d+)", ptx)[1])  # type: ignore[index]
    reuse = re.search(r"_r(\d)(\d)", ptx)
    block = re.search(r"_k(\d+)", ptx)
    strip = ptx.startswith("attn_bwd_strip")
    if reuse is None and not strip:
        raise ValueError(f"{ptx} is no kernel of the lanes design")
    r1, r2 = (int(reuse[1]), int(reuse[2])) if reuse is not None else (1, 4)
    kernel = [1] * (3 - len(row["kernel"])) + row["kernel"]
    step = int(block[1]) if block else 2
    loops = kernel[0] * (kernel[1] + r1 - 1) * -(-(kernel[2] + r2 - 1) // step)
    groups = row["batch"] * row["heads"] / (r1 * r2)
    for n in row["lengths"]:
        groups *= n
    return groups * loops * lanes * (STRIP if strip else 1)


def predict(
    entry: dict[str, Any], row: dict[str, Any], loops: dict[str, Loop], chip: Chip
) -> Prediction:
    """Time of an operation: the sum over its launches."""
    per_ms = chip.cores * chip.clock * 1e6
    total, bound, no_cache = 0.0, "", 0.0
    launches = entry["dispatches"]
    share = 1 if len(launches) == 1 else TWICE_READ / len(launches)
    for d in launches:
        n, loop = turns(d["ptx"], row), loops[d["ptx"]]
        bounds = {
            "memory": entry["minimum"] * share / chip.bandwidth / 1e6,
            "arithmetic": n * loop.cycles / per_ms,
            "cache": n * loop.bytes / 64 / per_ms,
        }
        bound = max(bounds, key=lambda b: bounds[b])
        total += bounds[bound] + LAUNCH_MS
        no_cache += max(bounds[bound], 2 * bounds["cache"]) + LAUNCH_MS
    return Prediction(total, bound, no_cache)


def operations(entry: dict[str, Any], row: dict[str, Any]) -> float:
    """Useful ones of an operation."""
    n = OPERATIONS[entry["op"]] * row["batch"] * row["heads"] * row["head_dim"]
    for x in (*row["lengths"], *row["kernel"]):
        n *= x
    return n


def plot(
    file: Path, points: list[tuple[dict[str, Any], dict[str, Any], dict[str, Prediction]]]
) -> None:
    """One picture a chip: its roofs, and where each row is predicted under them."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    figure, panels = plt.subplots(1, len(CHIPS), figsize=(15, 4.6), sharey=True)
    for panel, (name, chip) in zip(panels, CHIPS.items(), strict=True):
        x = np.geomspace(1, 200, 100)
        panel.loglog(x, np.minimum(chip.gflops, x * chip.bandwidth), color="0.3")
        for entry, row, times in points:
            work = operations(entry, row)
            panel.loglog(
                work / entry["minimum"],
                work / times[name].ms / 1e6,
                {"attn_forward": "o", "attn_backward": "s"}[entry["op"]],
                color={1: "C0", 2: "C1", 3: "C2"}[row["rank"]],
                fillstyle="full" if entry["dtype"] == "float32" else "none",
            )
        panel.set_title(f"{name}, predicted")
        panel.set_xlabel("operations a byte of device memory")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("useful GFLOP/s")
    legend = "1-D blue, 2-D orange, 3-D green; circles forward, squares backward; filled float32"
    figure.suptitle(legend + ", hollow float16")
    figure.tight_layout()
    figure.savefig(file, dpi=80)


def main() -> None:
    """Print the table; draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--plot", type=Path, help="PNG file")
    options = parser.parse_args()
    table = json.loads((Path(__file__).parents[2] / "cases.json").read_text())
    rows = {row["name"]: row for row in table["bench"]}
    entries = json.loads((options.dir / "bench.json").read_text())
    entries = [e for e in entries if e["design"] == "default" and e["multiplier"] == 1]
    entries = [e for e in entries if e["row"] in rows]
    ptx = {d["ptx"] for e in entries for d in e["dispatches"]}
    loops = {name: hot_loop(options.dir / name) for name in ptx}
    print(
        "PREDICTED times in ms (nobody has run this on an Apple GPU), in brackets without L1 hits"
    )
    points = []
    for e in entries:
        row = rows[e["row"]]
        times = {name: predict(e, row, loops, chip) for name, chip in CHIPS.items()}
        points.append((e, row, times))
        cells = [f"{t.ms:.3f} ({t.no_cache:.3f}) {t.bound}" for t in times.values()]
        published = ""
        if e["op"] == "attn_forward" and e["dtype"] == "float32":
            published = f"natten-mps 0.3.3 on an M4 Max, published: {PUBLISHED[e['row']]}"
        text = "".join(f"{cell:>28}" for cell in cells)
        print(f"{e['row']:20} {e['op']:13} {e['dtype']:8}{text}   {published}")
    if options.plot is not None:
        plot(options.plot, points)


if __name__ == "__main__":
    main()
