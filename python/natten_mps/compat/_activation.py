# SPDX-License-Identifier: MIT
"""``import natten`` and ``importlib.metadata.version("natten")`` served by a generation."""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from os import PathLike
from types import ModuleType
from typing import Any

_NAME = "natten"


class _Alias(Loader):
    """Loads a module as an alias: the same module object under a second name."""

    def __init__(self, target: str, version: str) -> None:
        self._target = target
        self._version = version

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._target)
        # The import system is about to write the alias's spec into the module.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and spec.loader is self:
            module.__spec__ = spec.loader_state
        if hasattr(module, "__version__"):
            vars(module)["__version__"] = self._version


class _Metadata(Distribution):
    """What ``importlib.metadata`` gets to see of the stand-in distribution."""

    def __init__(self, version: str) -> None:
        self._files = {
            "METADATA": f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {version}\n"
            "Summary: served by natten-mps\n",
            "top_level.txt": f"{_NAME}\n",
            "INSTALLER": "natten-mps\n",
        }

    def read_text(self, filename: str) -> str | None:
        return self._files.get(str(filename))

    def locate_file(self, path: str | PathLike[str]) -> Any:
        raise FileNotFoundError(f"{_NAME} is served by natten-mps and has no file {path}")


class _Finder(DistributionFinder):
    """Resolves ``natten`` and its submodules to one generation's package."""

    def __init__(self, version: str, target: str) -> None:
        self.version = version
        self._target = target

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _NAME and not fullname.startswith(_NAME + "."):
            return None
        source = self._target + fullname[len(_NAME) :]
        found = importlib.util.find_spec(source)
        if found is None:
            return None
        return ModuleSpec(
            fullname,
            _Alias(source, self.version),
            origin=found.origin,
            is_package=found.submodule_search_locations is not None,
        )

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        name = None if context is None else context.name
        if name is None or name.lower() == _NAME:
            yield _Metadata(self.version)


def _active() -> _Finder | None:
    return next((finder for finder in sys.meta_path if isinstance(finder, _Finder)), None)


def activate(version: str) -> None:
    """Makes ``import natten`` mean that version of NATTEN, from now on in this process.

    Submodules and the distribution's metadata follow; an installed ``natten`` that has
    not been imported is shadowed. Activating the same version again does nothing.
    Raises RuntimeError when another version is active or a real ``natten`` was imported.
    """
    from . import generation

    target = f"{__package__}.{generation(version)}"
    active = _active()
    if active is not None:
        if active.version == version:
            return
        raise RuntimeError(
            f"natten {active.version} is active in this process, so natten {version} cannot be; "
            "activate one version per process"
        )
    if _NAME in sys.modules:
        where = getattr(sys.modules[_NAME], "__file__", None)
        raise RuntimeError(
            f"natten was already imported from {where}; "
            f"call natten_mps.compat.activate({version!r}) before the first import of natten"
        )
    sys.meta_path.insert(0, _Finder(version, target))
