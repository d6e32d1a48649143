# SPDX-License-Identifier: MIT
"""Makes ``import natten`` and ``importlib.metadata.version("natten")`` resolve to a generation.

Interpreters of a linked environment, and child processes, import this module at startup, so
expensive imports are deferred until they are needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

from . import _children, _late
from ._places import NAME, generation

if TYPE_CHECKING:
    from importlib.metadata import Distribution, DistributionFinder

    from ._served import Release


class _Finder:
    """Resolves ``natten`` and its submodules to the modules of one release."""

    def __init__(self, version: str, generation: str, by_default: bool) -> None:
        self.version = version
        self.by_default = by_default
        self._generation = generation

    @cached_property
    def _release(self) -> Release:
        from ._served import Release

        return Release(self._generation, self.version, NAME)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pkg_resources":
            return self._introduced(fullname, path)
        if fullname != NAME and not fullname.startswith(NAME + "."):
            return None
        return self._release.spec(fullname)

    def _introduced(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """The spec of pkg_resources, which ignores finders and is informed after it is loaded."""
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_tell(module: ModuleType) -> None:
                load(module)
                self.tell_pkg_resources()

            vars(spec.loader)["exec_module"] = load_and_tell
        return spec

    def tell_pkg_resources(self) -> None:
        """Adds the stand-in to the working set of pkg_resources, if that has been imported."""
        resources = sys.modules.get("pkg_resources")
        if resources is not None:
            from ._metadata import ROOT

            # Without a location the working set finds it but does not list it.
            stand_in = resources.Distribution(str(ROOT), project_name=NAME, version=self.version)
            resources.working_set.add(stand_in, replace=True)

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        name = None if context is None else context.name
        if name is None or name.lower() == NAME:
            from ._metadata import Metadata, on_disk

            # A linked environment has metadata on disk, and pip has to see the files that it owns.
            if not on_disk(self.version):
                yield Metadata(self.version)


def _active() -> _Finder | None:
    return next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)


def activate(version: str) -> None:
    """Makes ``import natten`` load that version of NATTEN in this process from now on.

    This includes submodules, the distribution's metadata, the hub kernel "shi-labs/natten" and
    child processes. An installed ``natten`` that has not been imported is shadowed. Activating the
    same version again does nothing, and a version that a parent process or ``link`` selected is
    replaced. Raises RuntimeError if a call has activated another version, or if ``natten`` has
    already been imported.
    """
    _install(version, by_default=False)
    os.environ.update(_children.environment(version))
    _children.serve_hub()
    _late.reconsider(version)


def activate_by_default(version: str) -> None:
    """Like :func:`activate`, for interpreter startup: a later call may select another version."""
    _install(version, by_default=True)
    _children.serve_hub()


def _install(version: str, by_default: bool) -> None:
    served = generation(version)
    active = _active()
    if active is not None and active.version == version:
        active.by_default = active.by_default and by_default
        return
    if active is not None and not active.by_default:
        raise RuntimeError(
            f"natten {active.version} is active in this process, so natten {version} cannot be; "
            "activate one version per process"
        )
    if sys.modules.get(NAME, sys) is None:  # None: the program declares the module missing
        del sys.modules[NAME]
    if NAME in sys.modules:
        raise RuntimeError(_imported_already(version, active))
    if active is not None:
        sys.meta_path.remove(active)
    finder = _Finder(version, served, by_default)
    sys.meta_path.insert(0, finder)
    finder.tell_pkg_resources()


def _imported_already(version: str, active: _Finder | None) -> str:
    if active is not None:
        source = f"as version {active.version}, which this process started with"
    else:
        source = f"from {getattr(sys.modules[NAME], '__file__', None)}"
    return (
        f"natten was already imported {source}; "
        f"call natten_mps.compat.activate({version!r}) before the first import of natten"
    )
