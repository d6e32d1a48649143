# SPDX-License-Identifier: MIT
"""A bench run as a Markdown table and as a picture."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Names of the limits that run.py measures.
PEAK = "multiply-add GFLOP/s"
COPY = "copy GB/s, read and written"


def bounds(report: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Return what share of all cores' multiply-adds and of one core's copy rate `native` reached.

    The copy is of what no cache holds; a problem that a cache holds can exceed it.
    """
    limits, ms = report["limits"], result["ms"]["native"]
    if not limits:
        return []
    peak = limits[PEAK] * report["contenders"]["native"]["threads"]
    arithmetic = 100 * result["gflop"] / ms * 1e3 / peak
    if result["backward"]:
        return [f"{arithmetic:.0f} %", "-"]
    return [f"{arithmetic:.0f} %", f"{100 * result['forward_mb'] / ms / limits[COPY]:.0f} %"]


def markdown(report: dict[str, Any]) -> str:
    """Return the medians of every case and contender, with `pure` over `native`."""
    names = list(report["contenders"])
    head = ["case", "pass", *(f"{n}, ms" for n in names), "pure / native", "GFLOP/s"]
    if report["limits"]:
        head += ["of multiply-add peak", "of copy rate"]
    lines = [
        f"{report['machine']}; natten-mps {report['version']}; `{report['command'].strip()}`; "
        "medians, float32 unless said",
        "",
        "| " + " | ".join(head) + " |",
        "| --- | --- |" + " ---: |" * (len(head) - 2),
    ]
    for result in report["results"]:
        times = result["ms"]
        cells = [f"{times[n]:.3g}" if n in times else "-" for n in names]
        ratio = times["pure"] / times["native"]
        rate = result["gflop"] / times["native"] * 1e3
        step = "fwd+bwd" if result["backward"] else "forward"
        row = [result["case"], step, *cells, f"**{ratio:.0f}**", f"{rate:.1f}"]
        lines.append("| " + " | ".join([*row, *bounds(report, result)]) + " |")
    if report["limits"]:
        limits = ", ".join(f"{k} {v:.1f}" for k, v in report["limits"].items())
        lines += ["", f"One core's limits, measured in the same run: {limits}."]
    reasons = {f"{n}: {why}" for r in report["results"] for n, why in r["not_run"].items()}
    lines += ["", *(f"- not run: {reason}" for reason in sorted(reasons))]
    return "\n".join(lines).rstrip() + "\n"


def plot(report: dict[str, Any], path: Path) -> None:
    """Write bars of the time of each case, forward and forward + backward."""
    figure, axes = plt.subplots(
        1, 2, figsize=(11, 0.9 + 0.42 * len(report["results"]) / 2), layout="constrained"
    )
    for axis, backward in zip(axes, (False, True), strict=True):
        results = [r for r in report["results"] if r["backward"] == backward][::-1]
        for shift, name, colour in ((0.2, "pure", "tab:gray"), (-0.2, "native", "tab:green")):
            places = [i + shift for i in range(len(results))]
            axis.barh(places, [r["ms"][name] for r in results], 0.4, label=name, color=colour)
        for i, result in enumerate(results):
            ratio = result["ms"]["pure"] / result["ms"]["native"]
            axis.text(
                result["ms"]["native"] * 1.15, i - 0.2, f"{ratio:.0f} x", va="center", fontsize=8
            )
        axis.set_yticks(range(len(results)), [r["case"] for r in results], fontsize=8)
        axis.set(xscale="log", xlabel="ms, lower is better")
        axis.set_title("forward + backward" if backward else "forward", fontsize=10)
        axis.legend(fontsize=8, loc="lower right")
    figure.suptitle(report["machine"], fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
