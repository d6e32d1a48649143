# SPDX-License-Identifier: MIT
"""Finds the NATTEN releases that have what a project uses, and what of it is supported here."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from .. import _adapt, _places, _served
from .._served import Release
from ._uses import Call, Name, Uses


@dataclass
class Judgment:
    """The result for a project."""

    fitting: list[Version]  # releases that have everything it needs, oldest first
    best: Version | None
    pins: dict[str, SpecifierSet] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # what no release, or not the best one, has
    refused: list[str] = field(default_factory=list)  # what the release has and we do not support
    alternatives: list[str] = field(default_factory=list)  # what is missing but optional
    # Files by the releases that each of them fits, where no release fits all of them.
    by_file: dict[tuple[Version, ...], list[str]] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether the project can run here."""
        return not self.missing and not self.refused


def _release(version: Version) -> Release:
    return Release(_places.generation(str(version)), str(version), _places.NAME)


def _split(release: Release, path: str) -> tuple[str, str, str]:
    """Splits a dotted name into the longest module, a name in it, and the rest."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        if release.has(module) or end == 1:
            name, *rest = *parts[end:], ""
            return module, name, ".".join(rest).rstrip(".")
    raise AssertionError(path)


def _signature(release: Release, module: str, name: str) -> str:
    what = release.names(module).get(name, "value")
    if what.startswith("from "):
        _, origin, original = what.split()
        if release.has(f"{origin}.{original}"):
            return "value"
        return _signature(release, origin, original) if release.has(origin) else "value"
    return what


def _has(release: Release, path: str) -> bool:
    module, name, _ = _split(release, path)
    return name in ("", "__version__", "__file__", "__path__") or name in release.names(module)


def _takes(release: Release, path: str, call: Call) -> bool:
    """Whether a call fits the release's signature, as far as both are known."""
    module, name, rest = _split(release, path)
    if not name:
        return False  # modules cannot be called
    what = "value" if rest else _signature(release, module, name)
    if not what.startswith("(") or "*" in what:
        return True
    names = _adapt.parameters(what)
    taken = list(names)[: call.positional]
    if call.positional > len(names) or call.keywords & set(taken):
        return False
    if not call.keywords <= names.keys():
        return False
    required = {n for n, default in names.items() if default is _adapt._REQUIRED}
    return call.open or required <= {*taken, *call.keywords}


def _against(release: Release, uses: Uses) -> Iterator[tuple[Name, str]]:
    """What a project uses and a release lacks."""
    for name in uses.names:
        if not _has(release, name.path):
            yield name, f"{name.path} is not in NATTEN {release.asked}"
    for name, call in uses.calls:
        if _has(release, name.path) and not _takes(release, name.path, call):
            given = [f"{call.positional} by position"] if call.positional else []
            given += sorted(call.keywords)
            yield name, f"{name.path}({', '.join(given)}) does not fit NATTEN {release.asked}"


def _unserved(release: Release, uses: Uses) -> Iterator[tuple[Name, str]]:
    for name in uses.names:
        module, attribute, _ = _split(release, name.path)
        why = release.why(module, attribute) if attribute else None
        if _places.reason(module, "") is not None:
            why = _places.reason(module, "")
        if why is not None and _has(release, name.path):
            yield name, f"{name.path}: {why}"


def _worth(version: Version, uses: Uses, pins: dict[str, SpecifierSet]) -> tuple[int, ...]:
    """Sort key, smaller is better: missing names, missing optional names, pins, then age."""
    lacking = [name.optional for name, _ in _against(_release(version), uses)]
    refused = [name.optional for name, _ in _unserved(_release(version), uses)]
    outside = sum(not pin.contains(version, prereleases=True) for pin in pins.values())
    age = -_served.versions().index(version)
    return lacking.count(False), refused.count(False), outside, lacking.count(True), age


def judge(uses: Uses, pins: dict[str, SpecifierSet]) -> Judgment:
    """Finds the release that fits a project best, and what prevents running it here."""
    if not uses.names:
        return Judgment([], _served.versions()[-1] if uses.hub else None, pins)
    worth = {version: _worth(version, uses, pins) for version in _served.versions()}
    best = min(worth, key=lambda version: worth[version])
    fitting = [v for v in worth if worth[v][0] == 0 and worth[v][3] == worth[best][3]]
    judgment = Judgment(fitting, best, pins)
    release = _release(best)
    for name, text in _against(release, uses):
        (judgment.alternatives if name.optional else judgment.missing).append(text)
    for name, text in _unserved(release, uses):
        (judgment.alternatives if name.optional else judgment.refused).append(text)
    return judgment


def by_file(parts: list[Uses]) -> dict[tuple[Version, ...], list[str]]:
    """Groups files by the releases that fit them; empty if all files fit the same releases."""
    groups: dict[tuple[Version, ...], list[str]] = {}
    for uses in parts:
        if uses.names:
            groups.setdefault(tuple(judge(uses, {}).fitting), []).extend(sorted(uses.files))
    return groups if len(groups) > 1 else {}
