# SPDX-License-Identifier: MIT
"""A one-screen report on a project."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.version import Version

from .._served import versions
from ._judge import Judgment
from ._uses import Uses

_MOST = 8  # lines of one kind


def _list(title: str, lines: Iterable[str]) -> list[str]:
    lines = list(lines)
    shown = lines[:_MOST] + ([f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else [])
    return [f"{title if n == 0 else '':<14}{line}" for n, line in enumerate(shown)]


def _places(places: set[str]) -> str:
    first, *more = sorted(places)
    return first + (f" and {len(more)} more" if more else "")


def _range(fitting: list[Version]) -> str:
    """Formats releases as ranges without gaps."""
    every, groups = versions(), list[list[Version]]()
    for version in fitting:
        if groups and every.index(groups[-1][-1]) + 1 == every.index(version):
            groups[-1].append(version)
        else:
            groups.append([version])
    return ", ".join(str(g[0]) if len(g) == 1 else f"{g[0]} to {g[-1]}" for g in groups)


def _fits(judgment: Judgment) -> Iterator[str]:
    for fitting, files in sorted(judgment.by_file.items(), reverse=True):
        release = f"NATTEN {_range(list(fitting))}" if fitting else "no release"
        yield f"{_places(set(files))}: {release}"


def _verdict(uses: Uses, judgment: Judgment) -> list[str]:
    if judgment.best is None:
        if uses.gates:
            return ["asks for natten and uses nothing of it: any version will do"]
        return ["natten is not used"]
    if judgment.missing:
        return ["no release of NATTEN has all of this; the nearest is " + str(judgment.best)]
    if judgment.refused:
        return [f"written for {judgment.best}, and uses what is not served here"]
    return [f"runs: python -m natten_mps.compat {judgment.best} YOUR_SCRIPT"]


def text(folder: Path, files: int, unread: list[str], uses: Uses, judgment: Judgment) -> str:
    """Formats the report."""
    lines = [f"{folder}: {len(uses.files)} of {files} Python files use natten"]
    lines += _list("not Python 3", unread)
    if judgment.fitting:
        lines += _list("written for", ["NATTEN " + _range(judgment.fitting)])
    lines += _list("asks pip for", judgment.pins)
    modules: dict[str, set[str]] = {}
    for name in uses.names:
        module, _, last = name.path.rpartition(".")
        if module:
            modules.setdefault(module, set()).add(last)
    lines += _list("uses", (f"{m}: {', '.join(sorted(n))}" for m, n in sorted(modules.items())))
    lines += _list("gates", (f"{g}  {_places(p)}" for g, p in sorted(uses.gates.items())))
    lines += _list("missing", judgment.missing)
    lines += _list("not served", judgment.refused)
    lines += _list("does without", judgment.alternatives)
    lines += _list("by file", _fits(judgment))
    lines += _list("verdict", _verdict(uses, judgment))
    return "\n".join(lines)
