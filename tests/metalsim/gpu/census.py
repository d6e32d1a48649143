#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Count instructions of the kernels' hot loops.

    census.py DIR [--ptxas PATH]

DIR is what `NATTEN_GPU_BENCH=DIR go test ./core/metal -run TestExportBenchmarks` wrote. The counts
are of PTX, which no vendor's scheduler has seen yet: what they say of an Apple GPU is how much
work there is, not how well it is arranged. With ptxas (of the package nvidia-cuda-nvcc-cu12)
registers are reported as well.
"""

import argparse
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

LABEL = re.compile(r"^(\$L__BB\w+):")
INSTRUCTION = re.compile(r"^\s+(?:@!?%p\d+ )?([a-z][a-z0-9]*(?:\.[a-z0-9]+)*)\s")
TARGET = re.compile(r"\sbra(?:\.uni)?\s+(\$L__BB\w+);")
KINDS = (  # the first prefix that matches decides
    ("fma", ("fma.rn.f32",)),
    ("load", ("ld.global",)),
    ("memory", ("ld.", "st.")),
    ("shuffle", ("shfl",)),
    ("special", ("ex2", "lg2", "rcp", "div.rn")),
    ("control", ("bra", "bar", "ret")),
    ("float", ("mul.rn.f", "add.rn.f", "sub.rn.f", "max.f")),
    ("multiply", ("mul.", "mad.")),
    ("move", ("mov",)),
    ("convert", ("cvt.f32.f16",)),  # an Apple GPU's multiply-adds take half operands directly
)
NO_ALU = ("load", "memory", "control", "move", "convert")
# The fraction of a core's cycle that an instruction of one lane takes.
RATE = {"shuffle": 1 / 64, "special": 1 / 32, "multiply": 1 / 32}
VECTOR = re.compile(r"\.v(\d)\.[a-z](\d+)|\.[a-z](\d+)")


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
        """Core cycles per lane."""
        return sum(n * RATE.get(k, 1 / 128) for k, n in self.counts.items() if k not in NO_ALU)


def hot_loop(ptx: Path) -> Loop:
    """The innermost loop around the block with the most multiply-adds; the longest of equals."""
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


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--ptxas", type=Path)
    options = parser.parse_args()
    entries = json.loads((options.dir / "bench.json").read_text())
    names = sorted({d["ptx"] for e in entries if e["design"] != "twin" for d in e["dispatches"]})
    loops = {name: hot_loop(options.dir / name) for name in names}
    print("Hot loops: instructions of one step of one lane")
    for name, loop in loops.items():
        counts = ", ".join(f"{k} {n}" for k, n in sorted(loop.counts.items()))
        extra = "" if options.ptxas is None else ", " + registers(options.ptxas, options.dir / name)
        print(f"{name.removesuffix('.ptx'):45} {100 * loop.useful:3.0f} % useful: {counts}{extra}")


if __name__ == "__main__":
    main()
