#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reports of natten_mps.doctor --report as a table in Markdown: table.py FILE..."""

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = (
    "machine",
    "system",
    "torch",
    "tiers that work",
    "problems computed rightly",
    "largest error",
    "kernels",
    "speed, forward + backward",
)


def row(report: dict[str, Any]) -> tuple[str, ...]:
    """The cells of a report."""
    items = report["items"]
    machine = items.get("facts/machine", {})
    tiers = sorted({n.partition("/")[0] for n in items if n.startswith("tier ")})
    good = [t[5:] for t in tiers if _all_ok(items, t + "/")]
    seeds = {n: i for n, i in items.items() if "/seed " in n}
    errors = [i["error"] for i in seeds.values() if i["status"] == "ok"]
    kernels = {
        name: limits
        for n, i in items.items()
        if n.startswith("kernels/") and i["status"] == "ok"
        for name, limits in i["functions"].items()
    }
    refused = [n for n, i in items.items() if n.startswith("kernels/") and i["status"] != "ok"]
    threads = [k["max_threads_per_threadgroup"] for k in kernels.values() if k]
    return (
        machine.get("machdep.cpu.brand_string") or "simulated Metal",
        machine.get("system", "").partition("-with")[0],
        machine.get("torch", ""),
        ", ".join(good) or "none",
        f"{sum(i['status'] == 'ok' for i in seeds.values())} of {len(seeds)}",
        f"{max(errors):.1g}" if errors else "-",
        f"{len(kernels)} compiled, at least {min(threads, default='?')} threads"
        + (f"; refused in {len(refused)} plans" if refused else ""),
        "; ".join(_speed(n[6:], i) for n, i in items.items() if n.startswith("speed/")),
    )


def _all_ok(items: dict[str, Any], prefix: str) -> bool:
    found = [i["status"] for n, i in items.items() if n.startswith(prefix)]
    return bool(found) and set(found) == {"ok"}


def _speed(name: str, item: dict[str, Any]) -> str:
    if item["status"] != "ok":
        return f"{name}: {item['status']}"
    metal, pure = (sum(item["ms"][b].values()) for b in ("metal", "pure"))
    return f"{name}: {metal:.3g} ms, pure {pure:.3g}"


def table(reports: list[dict[str, Any]]) -> str:
    """All of them."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(row(r)) + " |" for r in reports]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([json.loads(Path(name).read_text()) for name in sys.argv[1:]]))
