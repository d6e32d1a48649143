# SPDX-License-Identifier: MIT
"""Count the instructions that whole calls execute on arm64, under qemu-aarch64.

    python tests/bench/instructions.py [TREE ...]

For each source tree (this one by default) and each row: executed instructions per useful
multiply-add, in all and of the functions that take most. Nobody here can time an Apple core; a
count says how much of a call is arithmetic, 0.25 being the least where an instruction multiplies
four pairs. It needs Go, gcc and qemu-aarch64.
"""

import argparse
import bisect
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The benchmark's name for a row, and the multiply-adds of its forward pass.
ROWS = {
    "2d-32x32-k7": 2 * 2 * 4 * 32**2 * 7**2 * 64,
    "3d-16x16x16-k3": 2 * 2 * 16**3 * 3**3 * 32,
}
PRODUCTS = {"attn_forward": 1.0, "attn_backward": 2.5}
LARGEST = 6  # number of functions that are printed


def symbols(binary: Path) -> tuple[list[int], list[str]]:
    """Return the addresses of functions, in order, and their names."""
    listing = subprocess.check_output(["go", "tool", "nm", "-n", binary], text=True)
    found = [line.split(maxsplit=2) for line in listing.splitlines()]
    functions = [x for x in found if len(x) == 3 and x[1] in "tT"]
    return [int(x[0], 16) for x in functions], [x[2] for x in functions]


class Program:
    """The engine's benchmarks of a source tree, built for arm64."""

    def __init__(self, tree: Path, work: Path) -> None:
        self.package, self.work = tree / "core" / "cpu", work
        self.binary = work / "cpu.test"
        self.run(["go", "test", "-c", "-o", self.binary, "."], GOARCH="arm64", GOOS="linux")
        self.addresses, self.names = symbols(self.binary)

    def run(self, command: list[str | Path], **environment: str) -> None:
        """Run a command in the engine's folder."""
        environment = {**os.environ, "CGO_ENABLED": "0", **environment}
        quiet = subprocess.DEVNULL
        subprocess.run(command, cwd=self.package, env=environment, stdout=quiet, check=True)

    def executed(self, row: str, op: str, runs: int) -> Counter[str]:
        """Return how many instructions of each function a number of calls executed."""
        counts = self.work / "counts"
        plugin = ["-plugin", f"{self.work / 'instructions.so'},to={counts}"]
        rows = f"Run/{row}$/{op}/float32/threads-1"
        bench = ["-test.run", "^$", "-test.bench", rows, "-test.benchtime", f"{runs}x"]
        self.run(["qemu-aarch64", *plugin, self.binary, *bench], GOMAXPROCS="1")
        total: Counter[str] = Counter()
        for line in counts.read_text().splitlines():
            address, executed = line.split()
            name = self.names[bisect.bisect_right(self.addresses, int(address, 16)) - 1]
            total[name] += int(executed)
        return total

    def of_a_call(self, row: str, op: str) -> Counter[str]:
        """Return the instructions of one call: the difference between two calls and one."""
        more = self.executed(row, op, 2)
        more.subtract(self.executed(row, op, 1))
        return more


def main() -> None:
    """Print a table for each tree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trees", nargs="*", type=Path, default=[HERE.parent.parent])
    for tree in parser.parse_args().trees:
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            plugin: list[str | Path] = [HERE / "instructions.c", "-o", work / "instructions.so"]
            subprocess.run(["gcc", "-O2", "-shared", "-fPIC", *plugin], check=True)
            program = Program(tree.resolve(), work)
            for row, forward in ROWS.items():
                for op, products in PRODUCTS.items():
                    counts, useful = program.of_a_call(row, op), forward * products
                    total = counts.total() / useful
                    print(f"{tree} {row} {op}: {total:.3f} instructions a multiply-add")
                    for name, n in counts.most_common(LARGEST):
                        print(f"    {n / useful:.3f} {name.rsplit('/', 1)[-1]}")


if __name__ == "__main__":
    main()
