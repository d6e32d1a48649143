#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Count instructions of the kernels' hot loops and predict times on Apple GPUs.

    census.py DIR [--ptxas PATH]

DIR is what `NATTEN_GPU_BENCH=DIR go test ./core/metal -run TestExportBenchmarks` wrote. The counts
are of PTX, which no vendor's scheduler has seen yet: what they say of an Apple GPU is how much
work there is, not how well it is arranged. With ptxas (of the package nvidia-cuda-nvcc-cu12)
registers are told as well.

The prediction is a model, not a measurement. It takes the longest of: memory traffic, each tensor
once, at the bandwidth that Apple publishes; instructions of the hot loop at the rates of the
metal-benchmarks project (a core and cycle: 128 simple, 32 exponential or integer multiplication,
64 shuffles); loads of the hot loop at 64 bytes a core and cycle; and adds 10 us for the launch.
"""

import argparse
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

LABEL = re.compile(r"^(\$L__BB\w+):")
INSTRUCTION = re.compile(r"^\s+(?:@!?%p\d+ )?([a-z][a-z0-9]*(?:\.[a-z0-9]+)*)\s")
TARGET = re.compile(r"\sbra(?:\.uni)?\s+(\$L__BB\w+);")
KINDS = (  # the first prefix that fits
    ("fma", ("fma.rn.f32",)),
    ("load", ("ld.global",)),
    ("memory", ("ld.", "st.")),
    ("shuffle", ("shfl",)),
    ("special", ("ex2", "lg2", "rcp", "div.rn")),
    ("control", ("bra", "bar", "ret")),
    ("float", ("mul.rn.f", "add.rn.f", "sub.rn.f", "max.f")),
    ("multiply", ("mul.", "mad.")),
    ("move", ("mov",)),
    ("convert", ("cvt.f32.f16",)),  # an Apple GPU's multiply-adds take half operands as they are
)
NO_ALU = ("load", "memory", "control", "move", "convert")
# A lane-instruction's share of a core's cycle.
RATE = {"shuffle": 1 / 64, "special": 1 / 32, "multiply": 1 / 32}
VECTOR = re.compile(r"\.v(\d)\.[a-z](\d+)|\.[a-z](\d+)")
LAUNCH_MS = 0.01


class Chip(NamedTuple):
    """GPU cores, clock in GHz, memory in GB/s."""

    cores: int
    clock: float
    bandwidth: float


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


def kind(op: str) -> str:
    """Class of a PTX instruction."""
    for name, prefixes in KINDS:
        if op.startswith(prefixes):
            return name
    return "integer"


def width(op: str) -> int:
    """Bytes of a load."""
    m = VECTOR.search(op.removeprefix("ld.global"))
    if m is None:
        return 0
    return int(m[1]) * int(m[2]) // 8 if m[1] else int(m[3]) // 8


class Loop(NamedTuple):
    """Instructions of one turn, and bytes that it loads."""

    counts: Counter[str]
    bytes: int

    @property
    def useful(self) -> float:
        """Share of multiply-adds among arithmetic instructions."""
        return self.counts["fma"] / sum(n for k, n in self.counts.items() if k not in NO_ALU)

    @property
    def cycles(self) -> float:
        """Core cycles a lane."""
        return sum(n * RATE.get(k, 1 / 128) for k, n in self.counts.items() if k not in NO_ALU)


def hot_loop(ptx: Path) -> Loop:
    """The innermost loop round the block with the most multiply-adds; of equal ones the longest."""
    labels: dict[str, int] = {}
    blocks: list[list[str]] = [[]]
    branches: list[tuple[int, str]] = []
    for line in ptx.read_text().splitlines():
        if m := LABEL.match(line):
            labels[m[1]] = len(blocks)
            blocks.append([])
        elif m := INSTRUCTION.match(line):
            blocks[-1].append(m[1])
            if target := TARGET.search(line):
                branches.append((len(blocks) - 1, target[1]))
    weights = [(sum(op.startswith("fma.rn.f32") for op in b), len(b)) for b in blocks]
    hottest = max(range(len(blocks)), key=lambda n: weights[n])
    loops = [(labels[to], at) for at, to in branches if labels[to] <= hottest <= at]
    first, last = min(loops, key=lambda loop: loop[1] - loop[0], default=(hottest, hottest))
    block = [op for b in blocks[first : last + 1] for op in b]
    loads = sum(width(op) for op in block if op.startswith("ld.global"))
    return Loop(Counter(map(kind, block)), loads)


def registers(ptxas: Path, ptx: Path) -> str:
    """Registers and spilled bytes as ptxas for an H100 reports them."""
    command = [str(ptxas), "-arch=sm_90", "-v", str(ptx), "-o", "/dev/null"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    used, spilled = re.search(r"Used (\d+) registers", text), re.findall(r"(\d+) bytes spill", text)
    return (
        f"{used[1] if used else '?'} registers, {max(map(int, spilled), default=0)} bytes spilled"
    )


def parameter(name: str, letter: str) -> int:
    """A number that a kernel's name spells."""
    m = re.search(rf"_{letter}(\d+)", name)
    if m is None:
        raise ValueError(f"{name} spells no {letter}")
    return int(m[1])


def predict(
    entry: dict[str, Any], row: dict[str, Any], loop: Loop, chip: Chip
) -> tuple[float, str]:
    """Milliseconds of a forward launch, and what bounds it."""
    name = entry["dispatches"][0]["ptx"]
    lanes, reuse, block = (parameter(name, x) for x in "grk")
    lines = 1
    for k in row["kernel"][:-1]:
        lines *= k
    blocks = lines * -(-(row["kernel"][-1] + reuse - 1) // block)
    queries = row["batch"] * row["heads"]
    for n in row["lengths"]:
        queries *= n
    lane_loops = queries / reuse * blocks * lanes
    per_ms = chip.cores * chip.clock * 1e6
    bounds = {
        "memory": entry["minimum"] / chip.bandwidth / 1e6,
        "arithmetic": lane_loops * loop.cycles / per_ms,
        "cache": lane_loops * loop.bytes / 64 / per_ms,
    }
    bound = max(bounds, key=lambda b: bounds[b])
    return bounds[bound] + LAUNCH_MS, bound


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--ptxas", type=Path)
    options = parser.parse_args()
    entries = json.loads((options.dir / "bench.json").read_text())
    table = json.loads((Path(__file__).parents[2] / "cases.json").read_text())
    rows = {row["name"]: row for row in table["bench"]}
    names = sorted({d["ptx"] for e in entries if e["design"] != "twin" for d in e["dispatches"]})
    loops = {name: hot_loop(options.dir / name) for name in names}
    print("Hot loops: instructions of one step of one lane")
    for name, loop in loops.items():
        counts = ", ".join(f"{k} {n}" for k, n in sorted(loop.counts.items()))
        extra = "" if options.ptxas is None else ", " + registers(options.ptxas, options.dir / name)
        print(f"{name.removesuffix('.ptx'):45} {100 * loop.useful:3.0f} % useful: {counts}{extra}")
    print("\nPREDICTED forward times in ms, float32 (nobody has run this on an Apple GPU)")
    print(f"{'':20}" + "".join(f"{chip:>20}" for chip in CHIPS) + "   natten-mps 0.3.3, M4 Max")
    for e in entries:
        if (e["design"], e["multiplier"], e["op"], e["dtype"]) != (
            "default",
            1,
            "attn_forward",
            "float32",
        ):
            continue
        loop = loops[e["dispatches"][0]["ptx"]]
        cells = [predict(e, rows[e["row"]], loop, chip) for chip in CHIPS.values()]
        text = "".join(f"{f'{ms:.3f} {bound}':>20}" for ms, bound in cells)
        print(f"{e['row']:20}{text}   {PUBLISHED[e['row']]:.1f}")


if __name__ == "__main__":
    main()
