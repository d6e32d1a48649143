# SPDX-License-Identifier: MIT
"""`python -m natten_mps._report.worker FILE SECONDS`: run the items that FILE lacks."""

import sys
import time
from pathlib import Path

from ..bench import Progress
from . import file
from .items import Item, identity, items


def work(path: Path, seconds: float) -> None:
    """Run one item after another until time is up."""
    deadline = time.monotonic() + seconds
    report = file.read(path)
    file.close_started(report, file.CRASHED, "the process ended")
    if report["finished"] or report["identity"] != identity():
        report.update(finished=False, identity=identity(), items={})
    todo = items()
    progress = Progress(len(todo))
    for item in todo:
        progress.step(item.name)
        if item.name in report["items"]:
            continue
        if time.monotonic() > deadline and not item.first:
            break
        report["items"][item.name] = {"status": file.STARTED}
        file.write(path, report)
        report["items"][item.name] = _tried(item)
    else:
        report["finished"] = True
    report["not_reached"] = len([i for i in todo if i.name not in report["items"]])
    progress.close()
    file.write(path, report)


def _tried(item: Item) -> dict[str, object]:
    started = time.perf_counter()
    try:
        result = {"status": file.OK, **item.run()}
    except Exception as error:  # the report records every kind of failure
        result = {"status": file.FAILED, "why": f"{type(error).__name__}: {error}"[:2000]}
    return {**result, "seconds": round(time.perf_counter() - started, 3)}


if __name__ == "__main__":
    work(Path(sys.argv[1]), float(sys.argv[2]))
