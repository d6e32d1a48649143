# SPDX-License-Identifier: MIT
"""One screen about a project."""

from collections.abc import Iterable
from pathlib import Path

from packaging.version import Version

from .._served import versions
from ._judge import Judgement
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
    """Ranges of releases without a gap."""
    every, groups = versions(), list[list[Version]]()
    for version in fitting:
        if groups and every.index(groups[-1][-1]) + 1 == every.index(version):
            groups[-1].append(version)
        else:
            groups.append([version])
    return ", ".join(str(g[0]) if len(g) == 1 else f"{g[0]} to {g[-1]}" for g in groups)


def _verdict(uses: Uses, judgement: Judgement) -> list[str]:
    if judgement.best is None:
        if uses.gates:
            return ["asks for natten and uses nothing of it: any version will do"]
        return ["natten is not used"]
    if judgement.missing:
        return ["no release of NATTEN has all of this; the nearest is " + str(judgement.best)]
    if judgement.refused:
        return [f"written for {judgement.best}, and uses what is not served here"]
    return [f"runs: python -m natten_mps.compat {judgement.best} YOUR_SCRIPT"]


def text(folder: Path, files: int, unread: list[str], uses: Uses, judgement: Judgement) -> str:
    """The report."""
    lines = [f"{folder}: {len(uses.files)} of {files} Python files use natten"]
    lines += _list("not Python 3", unread)
    if judgement.fitting:
        lines += _list("written for", ["NATTEN " + _range(judgement.fitting)])
    lines += _list("asks pip for", judgement.pins)
    modules: dict[str, set[str]] = {}
    for name in uses.names:
        module, _, last = name.path.rpartition(".")
        if module:
            modules.setdefault(module, set()).add(last)
    lines += _list("uses", (f"{m}: {', '.join(sorted(n))}" for m, n in sorted(modules.items())))
    lines += _list("gates", (f"{g}  {_places(p)}" for g, p in sorted(uses.gates.items())))
    lines += _list("missing", judgement.missing)
    lines += _list("not served", judgement.refused)
    lines += _list("does without", judgement.alternatives)
    lines += _list("verdict", _verdict(uses, judgement))
    return "\n".join(lines)
