# SPDX-License-Identifier: MIT
"""Time long windows on the CPU: `./build.sh bench long`.

1-D attention with 8 heads and 64 channels, in which the contenders take turns:

* windows of all and of half of the input against torch's scaled_dot_product_attention over all of
  it and, with --flex, compiled flex_attention with half windows as its mask (forward only, as it
  has no backward on CPUs);
* GFLOP/s of every kernel size from 3 to the length, 1.3 times the one before; a star marks those
  below 60 % of the best.

Times of one thread are processor time, which other work on the machine changes least.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from cases import BACKWARD_FACTOR, Case
from processor import describe_machine
from run import Contender, agree

LENGTHS = (256, 512, 1024, 4096)
SWEPT = (256, 1024, 4096)
SDPA, FLEX = "sdpa", "flex"
SHARE = 0.6  # of the best kernel size's GFLOP/s, from which a size is not marked


def window(length: int, kernel: int, dtype: str = "float32") -> Case:
    """Return a case of 1-D attention."""
    return Case(f"L={length} K={kernel} {dtype}", 1, (length,), 8, 64, kernel, dtype=dtype)


def kernels(length: int) -> Iterator[int]:
    """Yield kernel sizes from 3 to a length, each 1.3 times the one before."""
    size = 3
    while size < length:
        yield size
        size = max(size + 1, round(1.3 * size))
    yield length


class Group:
    """Contenders with the same number of threads."""

    def __init__(self, threads: int, names: list[str], rounds: int) -> None:
        self.rounds, self.clock = rounds, "processor" if threads == 1 else "seconds"
        self.members = {"native": self._start(threads, [])}
        self.members |= {name: self._start(threads, [name]) for name in names}

    @staticmethod
    def _start(threads: int, arguments: list[str]) -> Contender:
        environment = {"NATTEN_BACKEND": "native", "OMP_NUM_THREADS": str(threads)}
        return Contender(" ".join(arguments) or "native", sys.executable, arguments, **environment)

    def time(self, cases: dict[str, tuple[str, Case]], backward: bool) -> dict[str, float]:
        """Return the median milliseconds of named cases, each with its contender. Those that ask
        for the same case must give the same results."""
        samples: dict[str, list[float]] = {}
        times: dict[str, list[float]] = {name: [] for name in cases}
        for turn in range(self.rounds + 1):
            for name, (member, case) in cases.items():
                calls = max(1, round(2e9 / case.forward_flops)) if turn else 1
                answer = self.members[member].ask(case.request(backward, calls))
                if "error" in answer:
                    raise SystemExit(f"bench: {member}, {case.name}: {answer['error']}")
                if turn:
                    times[name] += answer[self.clock]
                else:
                    want = samples.setdefault(case.name, answer["sample"])
                    agree(member, case, want, answer["sample"])
        return {name: 1e3 * statistics.median(values) for name, values in times.items()}

    def close(self) -> None:
        """End the workers."""
        for member in self.members.values():
            member.close()


HEAD = (
    "length | type | threads | pass | whole, ms | SDPA, ms | whole / SDPA | half, ms | SDPA / half"
)


def against_torch(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the first table."""
    yield f"| {HEAD} | flex, half / half |"
    yield "| ---: | --- | ---: | --- |" + " ---: |" * 6
    for threads in options.threads:
        group = Group(threads, [SDPA, *([FLEX] if options.flex else [])], options.rounds)
        for dtype in options.dtypes:
            for length in options.lengths:
                for backward in (False, True):
                    cells = [length, dtype, threads, "fwd+bwd" if backward else "forward"]
                    cells += versus(group, length, dtype, backward)
                    yield "| " + " | ".join(map(str, cells)) + " |"
        group.close()


def versus(group: Group, length: int, dtype: str, backward: bool) -> list[str]:
    """Return the figures of one line of the first table."""
    whole, half = window(length, length, dtype), window(length, length // 2 + 1, dtype)
    cases = {"whole": ("native", whole), SDPA: (SDPA, whole), "half": ("native", half)}
    if FLEX in group.members and not backward:
        cases[FLEX] = (FLEX, half)
    ms = group.time(cases, backward)
    flex = f"{ms[FLEX] / ms['half']:.2f}" if FLEX in ms else "-"
    times = [f"{ms['whole']:.3g}", f"{ms[SDPA]:.3g}", f"{ms['whole'] / ms[SDPA]:.2f}"]
    return [*times, f"{ms['half']:.3g}", f"{ms[SDPA] / ms['half']:.2f}", flex]


def kernel_sizes(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the second list."""
    for threads in options.threads:
        group = Group(threads, [], options.rounds)
        for length in options.swept:
            for backward in (False, True):
                rates = {}
                for kernel in kernels(length):
                    case = window(length, kernel)
                    ms = group.time({"native": ("native", case)}, backward)["native"]
                    rates[kernel] = (
                        1e-6 * case.forward_flops * (1 + BACKWARD_FACTOR * backward) / ms
                    )
                least = SHARE * max(rates.values())
                cells = [
                    f"{k}: {rate:.0f}{'' if rate >= least else '*'}" for k, rate in rates.items()
                ]
                step = "fwd+bwd" if backward else "forward"
                yield f"* L={length}, {step}, {threads} threads: {', '.join(cells)}"
        group.close()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="./build.sh bench long",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default 1 2)")
    add("--lengths", type=int, nargs="*", default=LENGTHS, help="of the comparison with torch")
    add("--swept", type=int, nargs="*", default=SWEPT, help="lengths of the list of kernel sizes")
    add("--dtypes", nargs="+", default=["float32", "bfloat16"], help="element types")
    add("--flex", action="store_true", help="time flex_attention, which takes minutes to compile")
    add("--rounds", type=int, default=5, help="turns of each contender (default 5)")
    add("--out", type=Path, default=Path("build/bench"), help="folder of the report")
    return parser.parse_args()


def main() -> None:
    """Print the report line by line and write it as Markdown."""
    options = parse()
    lines = [f"{describe_machine()}, load {os.getloadavg()[0]:.1f} at the start; medians.", ""]
    print(lines[0], flush=True)
    for part in (against_torch, kernel_sizes):
        for line in part(options):
            print(line, flush=True)
            lines.append(line)
        lines.append("")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "long.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
