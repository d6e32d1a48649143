# SPDX-License-Identifier: MIT
"""Finds the NATTEN version that a project was written for, and whether its uses are supported."""

from pathlib import Path

from ._files import pins, sources
from ._judge import Judgment, by_file, judge
from ._report import text
from ._uses import Uses, read

__all__ = ["scan"]


def scan(folder: Path) -> tuple[str, int]:
    """Returns the report on a project and an exit status: 0 if one release supports everything
    that it uses, 1 if not. Does not run any code of the project."""
    uses, unread = Uses(), []
    parts: list[Uses] = []
    files = 0
    for path, source in sources(folder):
        files += 1
        try:
            parts.append(read(source, str(path.relative_to(folder))))
        except (SyntaxError, ValueError):
            unread.append(str(path.relative_to(folder)))
        else:
            uses.update(parts[-1])
    judgment: Judgment = judge(uses, pins(folder))
    if judgment.missing:
        judgment.by_file = by_file(parts)
    return text(folder, files, unread, uses, judgment), 0 if judgment.runs else 1
