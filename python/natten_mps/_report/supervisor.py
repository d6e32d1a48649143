# SPDX-License-Identifier: MIT
"""Starts workers until a report is complete or its time is up."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .. import _child
from .._mps import verdict
from . import file, summary

#: Seconds in which items may start, and seconds for the last one; ten minutes in total.
SECONDS, GRACE = 470, 120
#: Number of items that may kill a worker before the rest is skipped.
CRASHES = 12


def run(name: str, seconds: float = SECONDS) -> int:
    """Write the report and, next to it, a summary; returns 1 if anything failed, and 2 if the file
    exists and is not a report."""
    path = Path(name)
    try:
        file.read(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.exists() else file.write(path, file.read(path))
    except (file.ReportError, OSError) as error:
        print(f"natten_mps.doctor: {error}", file=sys.stderr)
        return 2
    started = time.monotonic()
    for _ in range(CRASHES):
        remaining = seconds - (time.monotonic() - started)
        if remaining <= 0 or _worked(path, remaining):
            break
    report = file.read(path)
    file.close_started(report, file.CRASHED, "the process ended")
    report["took"] = round(report.get("took", 0) + time.monotonic() - started, 1)
    file.write(path, report)
    text = summary.text(report)
    path.with_name(path.name + ".txt").write_text(text + "\n")
    print(text)
    print(f"\n{summary.what_next(report, name)}")
    return 0 if summary.is_good(report) else 1


def _worked(path: Path, seconds: float) -> bool:
    """Whether a worker ran to its end."""
    command = _child.command(f"{__package__}.worker", str(path), str(seconds))
    environment = {**_child.environment(os.environ), verdict.VERIFY: "off"}
    worker = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        status = worker.wait(seconds + GRACE)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
        _close(path, file.HUNG, f"no end after {seconds + GRACE:.0f} s")
        return True
    except BaseException:
        worker.kill()
        worker.wait()
        raise
    if status:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        _close(path, file.CRASHED, f"the process ended with {how}")
    return status == 0


def _close(path: Path, status: str, why: str) -> None:
    report: dict[str, Any] = file.read(path)
    file.close_started(report, status, why)
    file.write(path, report)
