#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Say how busy the inner loops of the NEON kernels keep an Apple core's FMA pipes.

By llvm-mca's model; needs LLVM 19 and Go, which cross-compiles the tests of package kern.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
SYMBOL = "github.com/natten-mps/natten-mps/core/cpu/internal/kern.{}.abi0"
ROUNDS = 1000


def output(*command: str, text: str = "") -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return done.stdout


def inner_loop(binary: str, function: str) -> list[str]:
    """Instructions of the innermost loop with the most multiply-adds, without its branch."""
    symbol = "--disassemble-symbols=" + SYMBOL.format(function)
    listing = output("llvm-objdump-19", "-d", "--no-show-raw-insn", binary, symbol)
    code = [(int(a, 16), t) for a, t in re.findall(r"^\s*([0-9a-f]+):\s+(.*)$", listing, re.M)]
    best: list[str] = []
    start = 0
    for i, (address, text) in enumerate(code):
        branch = re.match(r"(?:b\.\w+|cbn?z)\s.*?(0x[0-9a-f]+)", text)
        if not branch:
            continue
        target = int(branch[1], 16)
        if code[start][0] <= target <= address:
            body = [t for a, t in code[start:i] if a >= target]
            if sum("fmla" in t for t in body) > sum("fmla" in t for t in best):
                best = body
        start = i + 1
    return best


def cycles(code: list[str]) -> float:
    """Cycles of one round of a loop."""
    report = output(
        "llvm-mca-19", "-mtriple=arm64-apple-macos", "-mcpu=apple-m1",
        f"-iterations={ROUNDS}", text="\n".join(code),
    )  # fmt: skip
    match = re.search(r"Total Cycles:\s+(\d+)", report)
    if match is None:
        sys.exit("llvm-mca gave no cycles")
    return int(match[1]) / ROUNDS


def main() -> None:
    """Print a line for each kernel."""
    with tempfile.TemporaryDirectory() as work:
        binary = f"{work}/kern.test"
        environment = {**os.environ, "GOARCH": "arm64", "CGO_ENABLED": "0"}
        command = ["go", "test", "-c", "-o", binary, "."]
        subprocess.run(command, cwd=PACKAGE, env=environment, check=True)
        for function in ("scoreRowsNEON", "accumulateNEON", "dotsNEON", "sumsNEON"):
            body = inner_loop(binary, function)
            alone = [f"fmla v{i}.4s, v30.4s, v31.s[0]" for i in range(24)]
            multiply_adds = sum("fmla" in text for text in body)
            rate, most = multiply_adds / cycles(body), len(alone) / cycles(alone)
            print(
                f"{function}: {multiply_adds} multiply-adds a round, {rate:.2f} a cycle of "
                f"{most:.2f}: {100 * rate / most:.0f} % of the FMA pipes"
            )


if __name__ == "__main__":
    main()
