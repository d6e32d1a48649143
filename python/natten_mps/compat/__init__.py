# SPDX-License-Identifier: MIT
"""Drop-in replacements for the generations of upstream ``natten``.

``v014``, ``v015``, ``v017``, ``v020`` and ``v021`` have the names, argument orders, layouts
and errors of NATTEN 0.14.6, 0.15.1, 0.17.5, 0.20.1 and 0.21. :func:`activate` makes
``import natten`` mean one of them. Importing this package does not import torch.
"""

import importlib
from types import ModuleType
from typing import Any

from packaging.version import Version

from ._activation import activate

__all__ = ["activate", "for_version", "v014", "v015", "v017", "v020", "v021"]

# The first version that is no longer served by the generation, and the generation.
_GENERATIONS = (("0.15", "v014"), ("0.16", "v015"), ("0.20", "v017"), ("0.21", "v020"))
_NEWEST = "v021"


def generation(version: str) -> str:
    """Name of the subpackage that serves a NATTEN version.

    Pre-releases count as the release they precede. Raises
    ``packaging.version.InvalidVersion`` for text that is no version.
    """
    release = Version(Version(version).base_version)
    for end, name in _GENERATIONS:
        if release < Version(end):
            return name
    return _NEWEST


def for_version(version: str) -> ModuleType:
    """The module that has the API of that NATTEN version, such as "0.17.5"."""
    return importlib.import_module(f"{__name__}.{generation(version)}")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
