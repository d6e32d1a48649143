#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Record dispatches of every variant on the simulator, for replay.py on an NVIDIA GPU.

    record.py DIR [--each N] [--megabytes N]

Runs TestEveryVariantRuns of core/metal in all element types, keeps up to N dispatches of each
kernel that are spread over the run, and compiles the kernels to PTX. DIR is emptied first.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def record(folder: Path) -> None:
    """Fill a folder with recordings; exit if the test fails."""
    environment = {**os.environ, "METALSIM_RECORD": str(folder), "NATTEN_TEST_METAL": "full"}
    command = ["go", "test", "-count=1", "-timeout", "60m", "-run", "TestEveryVariantRuns"]
    done = subprocess.run([*command, "./core/metal"], cwd=ROOT, env=environment, check=False)
    if done.returncode:
        sys.exit("the test fails: nothing to replay")


def choose(folder: Path, each: int, limit: int) -> list[str]:
    """Delete all but `each` recordings of a kernel, and the largest while there is more than
    `limit` bytes; gives the sources that are left."""
    of_kernel: dict[str, list[Path]] = {}
    unit: dict[Path, str] = {}
    for path in sorted(folder.glob("*.case")):
        with path.open("rb") as f:
            head = json.loads(f.readline())
        unit[path] = head["unit"]
        of_kernel.setdefault(head["name"], []).append(path)
    kept = [paths[i * len(paths) // each] for paths in of_kernel.values() for i in range(each)]
    kept = sorted(set(kept), key=lambda path: path.stat().st_size)
    size = sum(path.stat().st_size for path in kept)
    while size > limit:
        size -= kept.pop().stat().st_size
    for path in set(unit) - set(kept):
        path.unlink()
    left = [name for name, paths in of_kernel.items() if set(paths) & set(kept)]
    print(f"{len(kept)} dispatches of {len(left)} of {len(of_kernel)} kernels, {size >> 20} MiB")
    return sorted({unit[path] for path in kept})


def compile_kernels(folder: Path, units: list[str]) -> None:
    """Compile sources to PTX."""
    mslc = folder / "mslc"
    build = ["go", "build", "-o", str(mslc), "./tests/metalsim/cmd/mslc"]
    subprocess.run(build, cwd=ROOT, check=True)

    def one(unit: str) -> None:
        out = str(folder / f"{unit}.ptx")
        subprocess.run(
            [str(mslc), "-emit", "ptx", "-o", out, str(folder / f"{unit}.metal")], check=True
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, units))
    mslc.unlink()
    print(f"{len(units)} kernels compiled")


def main() -> None:
    """Record, choose and compile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--each", type=int, default=4, help="dispatches of a kernel (4)")
    parser.add_argument("--megabytes", type=int, default=30, help="of recordings (30)")
    options = parser.parse_args()
    folder = options.dir.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    record(folder)
    compile_kernels(folder, choose(folder, options.each, options.megabytes << 20))


if __name__ == "__main__":
    main()
