# SPDX-License-Identifier: MIT
"""The file format of a report: a JSON object whose `items` are named SECTION/NAME."""

import json
import os
from pathlib import Path
from typing import Any

FORMAT = 1

#: Status of an item. If one is `started` when a worker begins, it killed the previous worker.
STARTED, OK, FAILED, CRASHED, HUNG = "started", "ok", "failed", "crashed", "hung"


class ReportError(ValueError):
    """A file that cannot be used for a report."""


def read(path: Path) -> dict[str, Any]:
    """Read the report in a file; an empty report if there is no file."""
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
    """Replace the file atomically."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(report, indent=1))
    partial.replace(path)


def close_started(report: dict[str, Any], status: str, why: str) -> None:
    """Set the status of the item that was running."""
    for item in report["items"].values():
        if item["status"] == STARTED:
            item.update(status=status, why=why)
