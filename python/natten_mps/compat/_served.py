# SPDX-License-Identifier: MIT
"""Builds the modules of one NATTEN release from the recorded names in released.json.

A module has exactly the names of the release, with their signatures. The values come from the
modules in :data:`_places.PLACES`; a name without a place raises an error that says why and what to
use instead. This serves ``natten`` and each generation's literal path ``natten_mps.compat.v0NN``,
the latter for the generation's newest release.
"""

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from dis import opmap
from functools import cache, partial
from importlib.abc import Loader, PathEntryFinder
from importlib.machinery import ModuleSpec
from inspect import isclass, isfunction
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from packaging.version import Version

from . import _adapt, _places

_PACKAGE = __name__.rpartition(".")[0]


@cache
def _recorded() -> dict[str, Any]:
    """The record written by tests/golden/make_names.py."""
    text = Path(__file__).with_name("released.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@cache
def versions() -> tuple[Version, ...]:
    """All recorded releases, oldest first."""
    return tuple(map(Version, _recorded()["versions"]))


def _covers(ranges: Sequence[str], version: Version) -> bool:
    pairs = (map(Version, text.split("..")) for text in ranges)
    return any(first <= version <= last for first, last in pairs)


class Release:
    """The recorded release that represents a version, under a root package: "natten" or
    "natten_mps.compat.v0NN"."""

    def __init__(self, generation: str, version: str, root: str) -> None:
        self.generation, self.asked, self.root = generation, version, root
        wanted = Version(Version(version).base_version)
        own = [v for v in versions() if _places.generation(v) == generation]
        self.version = max((v for v in own if v <= wanted), default=own[0])

    @cache  # noqa: B019 - there are few releases in a process, and they stay
    def names(self, module: str) -> dict[str, str]:
        """Names of the release in a module of natten, as released.json describes them."""
        found = {}
        for name, kinds in _recorded()["modules"][module]["names"].items():
            for what, ranges in kinds.items():
                if _covers(ranges, self.version):
                    found[name] = what
        return found

    def has(self, module: str) -> bool:
        """Whether the release has that module of natten."""
        entry = _recorded()["modules"].get(module)
        return entry is not None and _covers(entry["versions"], self.version)

    def served(self, module: str) -> bool:
        """Whether the module can be imported here."""
        return self.has(module) and _places.reason(module, "") is None

    def local(self, module: str) -> str:
        """Name of a module of natten under this root package."""
        return self.root + module.removeprefix(_places.NAME)

    def spec(self, module: str) -> ModuleSpec | None:
        """Import spec of a module of natten; None if the release has no such module."""
        if not self.has(module) and not _places.compiled(module):
            return None
        spec = ModuleSpec(self.local(module), _Loader(self, module), origin=self.file(module))
        spec.has_location = True
        if _recorded()["modules"].get(module, {}).get("package", False):
            spec.submodule_search_locations = [_Folder.entry(self, module)]
        return spec

    def file(self, module: str) -> str:
        """The source file that implements a module of natten, or most of it."""
        place = next(_places.of(self.generation, self.version, module), self.generation)
        path = Path(__file__).parent.joinpath(*place.split("."))
        return str(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))

    def submodules(self, module: str) -> Iterator[tuple[str, bool]]:
        """Name of each direct submodule of a package of natten, and whether it is a package."""
        for name, entry in _recorded()["modules"].items():
            if name.rpartition(".")[0] == module and self.served(name):
                yield name.rpartition(".")[2], entry["package"]

    def find(self, module: str, name: str) -> Any:
        """The value of a recorded name; LookupError if nothing here implements it."""
        what = self.names(module).get(name, "value")
        if what.startswith("from "):
            _, origin, original = what.split()
            if self.has(f"{origin}.{original}"):
                return importlib.import_module(self.local(f"{origin}.{original}"))
            if original not in self.names(origin):
                raise LookupError(f"{origin}.{original}")
            if self.served(origin):  # as upstream does; classes give this module as theirs
                importlib.import_module(self.local(origin))
            return self.find(origin, original)
        if name == "__all__":
            return [n for n in what.split(", ") if n in self.names(module)]
        if name == "__version__":
            return self.asked
        if name == "logger":
            return self.find("natten.utils.log", "get_logger")(module)
        for place in _places.of(self.generation, self.version, module):
            found = vars(importlib.import_module(f"{_PACKAGE}.{place}"))
            if name in found:
                value = found[name]
                callable_here = isfunction(value) or isclass(value)
                return self._adapted(value, module, name, what) if callable_here else value
        raise LookupError(f"{module}.{name}")

    @cache  # noqa: B019 - one object per name, so that classes stay themselves
    def _adapted(self, value: Any, module: str, name: str, what: str) -> Any:
        value = _adapt.to_signature(value, name, what)
        # Pickled models refer to classes by name, so classes need natten's names.
        private = value.__module__.startswith(_PACKAGE) and "._" in value.__module__
        if private or (self.root == _places.NAME and value.__module__.startswith(_PACKAGE)):
            value.__module__ = self.local(module)
        return value

    def why(self, module: str, name: str) -> str | None:
        """Why a name of the release is not available; None if it is."""
        reason = _places.reason(module, name)
        what = self.names(module).get(name, "value")
        if reason is not None or not what.startswith("from "):
            return reason
        _, origin, original = what.split()
        if self.has(f"{origin}.{original}"):
            return _places.reason(f"{origin}.{original}", "")
        return self.why(origin, original) if original in self.names(origin) else None


def fill(release: Release, module: str, namespace: dict[str, Any]) -> None:
    """Adds the names of the release in a module of natten to a namespace."""
    for name in (*release.names(module), *_places.MORE.get((release.generation, module), ())):
        if release.why(module, name) is None and name not in namespace:
            namespace[name] = release.find(module, name)
    if "__all__" in namespace:
        namespace["__all__"] = [n for n in namespace["__all__"] if n in namespace]
    namespace.setdefault("__getattr__", partial(missing, release, module, namespace))


def missing(release: Release, module: str, namespace: dict[str, Any], name: str) -> Any:
    """Imports a submodule, or raises the error for a name that does not exist."""
    submodule = f"{module}.{name}"
    if release.served(submodule):
        namespace[name] = importlib.import_module(release.local(submodule))
        return namespace[name]
    text = f"{release.local(module)} of NATTEN {release.asked} has no {name}"
    if not name.startswith("__"):
        known = release.has(submodule) or _places.compiled(submodule)
        why = _places.reason(submodule, "") if known else None
        if why is None and name in release.names(module):
            why = release.why(module, name)
        text = f"{submodule} is not served by natten-mps: {why}" if why else text
        text += _elsewhere(module, name) if not why else ""
    # `from MODULE import NAME` replaces an AttributeError with an ImportError and drops its text.
    frame = sys._getframe(1)
    importing = frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]
    raise (ImportError if importing else AttributeError)(text, name=name)


def _elsewhere(module: str, name: str) -> str:
    """The releases that have the name in that module."""
    kinds = _recorded()["modules"][module]["names"].get(name, {})
    ranges = [r for ranges in kinds.values() for r in ranges]
    having = [v for v in versions() if _covers(ranges, v)]
    if not having:
        return ""
    return f"; releases from {having[0]} to {having[-1]} have it, see natten_mps.compat.activate"


class _Folder(PathEntryFinder):
    """Stands in for the folder of a served package, so that pkgutil can list submodules. A real
    folder would make the files of this package importable as modules of natten."""

    _of: ClassVar[dict[str, tuple[Release, str]]] = {}

    def __init__(self, entry: str) -> None:
        if entry not in self._of:
            raise ImportError(f"{entry} is no package of natten's", path=entry)
        self._release, self._module = self._of[entry]

    @classmethod
    def entry(cls, release: Release, module: str) -> str:
        """The entry for a package's ``__path__``."""
        folder = Path(__file__).parent / release.generation / f"{release.root}-{release.version}"
        entry = str(folder.joinpath(*module.split(".")))
        cls._of[entry] = release, module
        return entry

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Returns None: the finder of the root package finds all modules."""
        return None

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """Lists submodules for pkgutil.iter_modules."""
        for name, package in self._release.submodules(self._module):
            yield prefix + name, package


sys.path_hooks.append(_Folder)


class _Loader(Loader):
    """Populates a new module."""

    def __init__(self, release: Release, module: str) -> None:
        self._release, self._module = release, module

    def exec_module(self, module: ModuleType) -> None:
        why = _places.reason(self._module, "")
        if why is not None:
            raise ImportError(
                f"{self._module} is not served by natten-mps: {why}", name=module.__name__
            )
        module.__doc__ = f"{self._module} of NATTEN {self._release.asked}, by natten-mps."
        fill(self._release, self._module, vars(module))
        note = _places.NOTES.get((self._release.generation, self._module))
        if note is not None:
            self._release.find("natten.utils.log", "get_logger")(self._module).warning(note)


@cache
def literal(generation: str) -> Release:
    """The newest release of a generation, under its literal path."""
    newest = max(v for v in versions() if _places.generation(v) == generation)
    return Release(generation, str(newest), f"{_PACKAGE}.{generation}")
