# SPDX-License-Identifier: MIT
"""Which NATTEN a project was written for, what it uses of it, and whether that is served here."""

from pathlib import Path

from ._files import pins, sources
from ._judge import Judgment, judge
from ._report import text
from ._uses import Uses, read

__all__ = ["scan"]


def scan(folder: Path) -> tuple[str, int]:
    """The report on a project, and an exit status: 0 if all that it uses is served by one
    release, 1 if not. Nothing of the project is run."""
    uses, unread = Uses(), []
    files = 0
    for path, source in sources(folder):
        files += 1
        try:
            uses.update(read(source, str(path.relative_to(folder))))
        except (SyntaxError, ValueError):
            unread.append(str(path.relative_to(folder)))
    judgment: Judgment = judge(uses, pins(folder))
    return text(folder, files, unread, uses, judgment), 0 if judgment.runs else 1
