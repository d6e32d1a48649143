#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Count what the kernels move, by an NVIDIA GPU's hardware counters.

    traffic.py DIR [--json FILE] [--design NAME]

DIR is that of bench.py. Runs each row that is larger than the GPU's cache once under Nsight
Compute (`ncu`) and compares the bytes read from and written to device memory with the minimum,
every tensor once. With --once, which `ncu` is given, it only launches.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from replay import check, cuda, start

from bench import Entry, Kernels, Memory, Run

ENOUGH_BYTES = 200e6  # four times the L2 cache of an H100
METRICS = {
    "dram__bytes_read.sum": "read",
    "dram__bytes_write.sum": "written",
    "lts__t_bytes.sum": "l2",
    "gpu__time_duration.sum": "ns",
    "smsp__inst_executed.sum": "instructions",
    "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum": "ffma",
    "smsp__issue_active.avg.pct_of_peak_sustained_active": "issue",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy",
    "l1tex__data_pipe_lsu_wavefronts.avg.pct_of_peak_sustained_elapsed": "l1",
}


def chosen(directory: Path, design: str) -> list[Entry]:
    """Of each row, operation and element type the first batch that is large enough."""
    groups: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for e in json.loads((directory / "bench.json").read_text()):
        if e["design"] == design:
            groups[e["row"], e["dtype"], e["op"]].append(e)
    out = []
    for entries in groups.values():
        entries.sort(key=lambda e: e["multiplier"])
        out.append(next((e for e in entries if e["minimum"] >= ENOUGH_BYTES), entries[-1]))
    return out


def once(directory: Path, design: str) -> None:
    """Launch everything one time, on random numbers."""
    start()
    kernels = Kernels(directory, None)
    for entry in chosen(directory, design):
        memory = Memory()
        for seed, name in enumerate(("query", "key", "value", "d_out", "out", "lse")):
            if name in entry["tensors"]:
                kind = "float32" if name == "lse" else entry["dtype"]
                memory.fill(name, entry["tensors"][name], kind, seed)
        run = Run(entry, memory, kernels)
        run.launch()
        check(cuda.cuCtxSynchronize(), "run")
        run.free()
        memory.free()


def counted(directory: Path, design: str) -> list[dict[str, float]]:
    """The metrics of each launch, in order."""
    command = ["ncu", "--csv", "--page", "raw", "--clock-control", "none", "--metrics"]
    command += [",".join(METRICS), sys.executable, __file__, str(directory)]
    command += ["--once", "--design", design]
    text = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in text.stdout.splitlines() if line.startswith('"')]
    if not lines:
        raise RuntimeError(f"ncu counted nothing: {text.stdout[-2000:]} {text.stderr[-2000:]}")
    header, units, *rows = csv.reader(lines)
    scale = {"Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9, "us": 1e3, "ms": 1e6, "s": 1e9}
    scale |= {"usecond": 1e3, "msecond": 1e6, "nsecond": 1}
    out = []
    for row in rows:
        found = {}
        for name, unit, cell in zip(header, units, row, strict=True):
            if name in METRICS and cell:
                found[METRICS[name]] = float(cell.replace(",", "")) * scale.get(unit, 1)
        out.append(found)
    return out


def main() -> None:
    """Print a line for each launch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--design", default="default")
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    if options.once:
        once(options.dir, options.design)
        return
    counts = iter(counted(options.dir, options.design))
    results: list[dict[str, Any]] = []
    for e in chosen(options.dir, options.design):
        parts = [next(counts) for _ in e["dispatches"]]
        moved = sum(p.get("read", 0) + p.get("written", 0) for p in parts)
        keys = ("row", "multiplier", "op", "dtype", "minimum")
        results.append({k: e[k] for k in keys} | {"moved": moved, "launches": parts})
        print(
            f"{e['row']:20} x{e['multiplier']:<4} {e['op']:13} {e['dtype']:8} "
            f"{moved / 1e6:8.1f} MB, {moved / e['minimum']:5.2f} x the minimum"
        )
        for d, p in zip(e["dispatches"], parts, strict=True):
            share = 100 * p.get("ffma", 0) / max(32 * p.get("instructions", 0), 1)
            print(
                f"    {d['ptx'].removesuffix('.ptx'):50} L2 {p.get('l2', 0) / 1e6:8.1f} MB, "
                f"{p.get('ns', 0) / 1e6:7.4f} ms, {share:3.0f} % multiply-adds, issue "
                f"{p.get('issue', 0):3.0f} %, warps {p.get('occupancy', 0):3.0f} %, "
                f"L1 {p.get('l1', 0):3.0f} %"
            )
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
