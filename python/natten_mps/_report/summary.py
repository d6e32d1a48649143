# SPDX-License-Identifier: MIT
"""A report as text for people."""

from typing import Any

from . import file

#: Maximum number of failures to list.
MOST = 12


def sections(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Number of items by status, for each section."""
    found: dict[str, dict[str, int]] = {}
    for name, item in report["items"].items():
        counts = found.setdefault(name.partition("/")[0], {})
        counts[item["status"]] = counts.get(item["status"], 0) + 1
    return found


def failures(report: dict[str, Any]) -> dict[str, str]:
    """The failures and their reasons."""
    return {
        name: f"{item['status']}: {item.get('why', '')}"
        for name, item in report["items"].items()
        if item["status"] != file.OK
    }


def is_good(report: dict[str, Any]) -> bool:
    """Whether there are results and no failures. Tiers may be refused, but not all of them."""
    wrong = failures(report)
    tiers = [name for name in report["items"] if name.endswith("/choice")]
    refused = {name.partition("/")[0] for name in tiers if name in wrong}
    serious = [name for name in wrong if name.partition("/")[0] not in refused]
    return bool(report["items"]) and not serious and len(refused) < len(tiers)


def text(report: dict[str, Any]) -> str:
    """The summary."""
    items = report["items"]
    machine = items.get("facts/machine", {})
    chip = machine.get("machdep.cpu.brand_string") or machine.get("system", "unknown machine")
    lines = [f"natten_mps report: {chip}, torch {machine.get('torch')}, {report.get('took')} s"]
    for section, counts in sections(report).items():
        told = ", ".join(f"{n} {status}" for status, n in counts.items())
        lines.append(f"  {section:<14} {told}")
    if report.get("not_reached"):
        lines.append(f"  not reached    {report['not_reached']}")
    for name, item in items.items():
        if name.startswith("speed/") and item["status"] == file.OK:
            lines.append(f"  {name[6:]:<24}" + _times(item["ms"]))
    wrong = failures(report)
    lines += [f"  {name}: {why}"[:300] for name, why in list(wrong.items())[:MOST]]
    if len(wrong) > MOST:
        lines.append(f"  and {len(wrong) - MOST} more")
    lines.append("Nothing failed." if is_good(report) else "Something failed, see above.")
    return "\n".join(lines)


#: Where users send reports.
ISSUES = "https://github.com/natten-mps/natten-mps/issues/new?template=bug.yml"


def what_next(report: dict[str, Any], name: str) -> str:
    """What the user should do with a report's file."""
    left = report.get("not_reached")
    lines = [f"Written: {name} and {name}.txt."]
    if not report["finished"]:
        much = f"{left} of {left + len(report['items'])} things are" if left else "Something is"
        lines.append(f"{much} left to try: the same command goes on where this one stopped.")
    lines.append(
        f"Please attach {name} to an issue, whatever it says:\n{ISSUES}\n"
        "It says what the machine is, and names no person, machine or folder."
    )
    return "\n".join(lines)


def _times(ms: dict[str, dict[str, float]]) -> str:
    return "  ".join(
        f"{name} " + " + ".join(f"{t:.3g}" for t in times.values()) + " ms"
        for name, times in ms.items()
    )
