# SPDX-License-Identifier: MIT
"""A bench run as a Markdown table and as a picture."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Names of contenders and limits that run.py uses.
ONE_THREAD = "native, 1 thread"
PEER = "natten-mps 0.3.3's pure"
PEAK = "multiply-add GFLOP/s"

Result = dict[str, Any]
Report = dict[str, Any]


def copy_rate(limits: dict[str, float], megabytes: float) -> float:
    """Return the GB/s of the copy that moves as much, or the next larger amount."""
    sizes = sorted(int(name) for name in limits if name != PEAK)
    return limits[str(next((size for size in sizes if size >= megabytes), sizes[-1]))]


def bounds(report: Report, result: Result) -> list[str]:
    """Return the fractions of all cores' peak rate of multiply-adds and of their copy rate that
    `native` reached in its quickest call, which of the two bounds a call, and the speedup over
    `pure` of a call that takes only as long as this bound."""
    limits, ms = report["limits"], result["least_ms"]["native"]
    if not limits:
        return []
    peak = limits[PEAK] * report["contenders"]["native"]["threads"]
    arithmetic = 1e3 * result["gflop"] / peak
    memory = result["mb"] / copy_rate(limits, result["mb"])
    bound = "arithmetic" if arithmetic > memory else "memory"
    most = result["ms"]["pure"] / max(arithmetic, memory)
    return [f"{100 * arithmetic / ms:.0f} %", f"{100 * memory / ms:.0f} %", bound, f"{most:.3g}"]


def step(result: Result) -> str:
    """Return the name of what was timed."""
    return "fwd+bwd" if result["backward"] else "forward"


def ratio(result: Result, name: str, of: str = "native") -> str:
    """Return one contender's time over another's, or a dash."""
    times = result["ms"]
    return f"{times[name] / times[of]:.3g}" if name in times and of in times else "-"


def markdown(report: Report) -> str:
    """Return the medians of every case and contender, with ratios, bounds and findings."""
    names = list(report["contenders"])
    baselines = [name for name in ("pure", PEER, ONE_THREAD) if name in names]
    head = ["case", "pass", *(f"{n}, ms" for n in names), *(f"{n} / native" for n in baselines)]
    head += ["native's quickest, ms", "GFLOP/s"]
    if report["limits"]:
        head += ["of multiply-add peak", "of copy rate", "bound by", "pure / bound"]
    head += ["native's memory, MiB"]
    lines = [
        f"{report['machine']}; natten-mps {report['version']}; `{report['command'].strip()}`; "
        "medians, float32 unless said; GFLOP/s, shares of limits and what stands below the table"
        " are those of the quickest calls; memory is what the first call adds to the resident set.",
        "",
        "| " + " | ".join(head) + " |",
        "| --- | --- |" + " ---: |" * (len(head) - 2),
    ]
    for result in report["results"]:
        times = result["ms"]
        cells = [f"{times[n]:.3g}" if n in times else "-" for n in names]
        cells += [f"**{ratio(result, n)}**" if n in times else "-" for n in baselines]
        least = result["least_ms"]["native"]
        cells += [f"{least:.3g}", f"{result['gflop'] / least * 1e3:.1f}"]
        row = [result["case"], step(result), *cells, *bounds(report, result)]
        row.append(f"{result['peak_mib']['native']:.1f}")
        lines.append("| " + " | ".join(row) + " |")
    if report["limits"]:
        limits = report["limits"]
        copies = ", ".join(f"{v:.1f} at {k} MB" for k, v in limits.items() if k != PEAK)
        lines += [
            "",
            f"Limits, measured in the same run: {limits[PEAK]:.0f} {PEAK} a core; copies on all"
            f" cores, GB/s read and written: {copies}.",
        ]
    lines += ["", *findings(report)]
    reasons = {f"{n}: {why}" for r in report["results"] for n, why in r["not_run"].items()}
    lines += [f"* not run: {reason}" for reason in sorted(reasons)]
    return "\n".join(lines).rstrip() + "\n"


# The rows of README: case, whether backward, description.
README_ROWS = (
    ("1d-l1024-k7", False, "1-D 1024, K=7, forward"),
    ("2d-32x32-k7", False, "2-D 32 x 32, K=7, forward"),
    ("2d-32x32-k7", True, "2-D 32 x 32, K=7, forward + backward"),
    ("2d-64x64-k7", False, "2-D 64 x 64, K=7, forward"),
    ("2d-64x64-k7", True, "2-D 64 x 64, K=7, forward + backward"),
    ("3d-16x16x16-k3", True, "3-D 16 x 16 x 16, K=3, forward + backward"),
)


def figure(ms: float) -> str:
    """Return three significant digits, or all digits of a number that has four or more."""
    return f"{float(f'{ms:.3g}'):.0f}" if ms >= 1000 else f"{ms:.3g}"


def compact(report: Report) -> str:
    """Return the table of README: a few rows with our, the predecessor's and PyTorch's times."""
    heads = {PEER: "natten-mps 0.3.3 on CPUs, ms", "flex_attention": "flex_attention, compiled, ms"}
    names = [name for name in heads if name in report["contenders"]]
    head = ["problem", "natten-mps, ms", *(heads[name] for name in names), "times as fast as 0.3.3"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    by_name = {(r["case"], r["backward"]): r for r in report["results"]}
    for case, backward, what in README_ROWS:
        result = by_name[case, backward]
        times = result["ms"]
        cells = [figure(times[n]) if n in times else "-" for n in ("native", *names)]
        lines.append("| " + " | ".join([what, *cells, f"**{ratio(result, PEER)}**"]) + " |")
    return "\n".join(
        [
            *lines,
            "",
            f"{report['machine']}; natten-mps {report['version']}, median times, float32; all rows"
            f" in [speed.md](tests/bench/speed.md), written by `{report['command'].strip()}`.",
        ]
    )


# Case, the case that it is compared with, the meaning of the comparison.
PAIRS = (
    ("2d-32x32-k7-float16", "2d-32x32-k7", "float16 over float32"),
    ("2d-32x32-k7-bfloat16", "2d-32x32-k7", "bfloat16 over float32"),
    ("1d-l1024-k7-float16", "1d-l1024-k7", "float16 over float32, 1-D"),
    ("1d-l1024-k7-bfloat16", "1d-l1024-k7", "bfloat16 over float32, 1-D"),
    ("2d-32x32-k7-gqa-8-1", "2d-32x32-k7-mha-8-8", "8 query heads a key head over one"),
)


def findings(report: Report) -> list[str]:
    """Return conclusions from comparing rows of the table."""
    lines = []
    by_name = {(r["case"], r["backward"]): r["least_ms"]["native"] for r in report["results"]}
    for case, base, what in PAIRS:
        pair = [(by_name.get((case, b)), by_name.get((base, b))) for b in (False, True)]
        if all(x is not None and y is not None for x, y in pair):
            forward, both = (x / y for x, y in pair)
            lines.append(f"* {what}: {forward:.2f} times forward, {both:.2f} times fwd+bwd.")
    timed = [r for r in report["results"] if ONE_THREAD in r["ms"]]
    gains = {
        f"{r['case']} {step(r)}": r["least_ms"][ONE_THREAD] / r["least_ms"]["native"]
        for r in timed
        if r["least_ms"]["native"] > 5
    }
    if gains:
        least = min(gains, key=lambda name: gains[name])
        enough = sum(gain >= 1.8 for gain in gains.values())
        lines.append(
            f"* All cores over one, rows above 5 ms: 1.8 or more on {enough} of {len(gains)}; "
            f"least {gains[least]:.2f} ({least})."
        )
    if report["c_us"]:
        forward, backward = report["c_us"]
        lines.append(
            f"* A call without work, through C with a plan: {forward:.2f} us forward, "
            f"{backward:.2f} us backward."
        )
    return lines


def plot(report: Report, path: Path) -> None:
    """Write bars of the time of each case, forward and forward + backward."""
    count = len({r["case"] for r in report["results"]})
    shown = [("native", "tab:green"), ("pure", "tab:gray"), (PEER, "tab:brown")]
    shown = [(name, color) for name, color in shown if name in report["contenders"]]
    height = 0.8 / len(shown)
    figure, axes = plt.subplots(1, 2, figsize=(11, 1.2 + 0.36 * count), layout="constrained")
    for axis, backward in zip(axes, (False, True), strict=True):
        results = [r for r in report["results"] if r["backward"] == backward][::-1]
        for n, (name, color) in enumerate(shown):
            bars = [(i, r["ms"][name]) for i, r in enumerate(results) if name in r["ms"]]
            places = [i + 0.4 - height * (n + 0.5) for i, _ in bars]
            axis.barh(places, [ms for _, ms in bars], height, label=name, color=color)
        for i, result in enumerate(results):
            text = f"{ratio(result, 'pure')} x"
            place = (result["ms"]["native"] * 1.15, i + 0.4 - height / 2)
            axis.text(*place, text, va="center", fontsize=7, color="darkgreen")
        axis.set_yticks(range(len(results)), [r["case"] for r in results], fontsize=8)
        axis.set(xscale="log", xlabel="ms, lower is better")
        axis.set_title(
            ("forward + backward" if backward else "forward") + "; x: pure / native", fontsize=10
        )
        axis.margins(y=0.01)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(report["machine"], fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)
