# SPDX-License-Identifier: MIT
"""The file of a report: a JSON object whose `items` are named SECTION/NAME."""

import json
import os
from pathlib import Path
from typing import Any

FORMAT = 1

#: What became of an item. One that is `started` when a worker begins has ended the one before.
STARTED, OK, FAILED, CRASHED, HUNG = "started", "ok", "failed", "crashed", "hung"


class ReportError(ValueError):
    """A file that cannot take a report."""


def read(path: Path) -> dict[str, Any]:
    """The report in a file, an empty one where there is no file."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {"format": FORMAT, "finished": False, "identity": None, "items": {}}
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error}") from error
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ReportError(f"{path} is no report (want a new file, or one that a report began)")
    return found


def write(path: Path, report: dict[str, Any]) -> None:
    """Replace the file in one step."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(report, indent=1))
    partial.replace(path)


def close_started(report: dict[str, Any], status: str, why: str) -> None:
    """Say what became of the item that was under way."""
    for item in report["items"].values():
        if item["status"] == STARTED:
            item.update(status=status, why=why)
