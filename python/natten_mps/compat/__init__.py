# SPDX-License-Identifier: MIT
"""Drop-in replacements for released versions of upstream ``natten``.

The generations ``v014``, ``v015``, ``v017``, ``v020`` and ``v021`` have the names, argument
orders, layouts and errors of NATTEN 0.14.6, 0.15.1, 0.17.5, 0.20.1 and 0.21. :func:`activate`
makes ``import natten`` load one of them. Importing this package does not import torch.
"""

import importlib
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ._activation import activate
from ._places import generation as generation

__all__ = ["activate", "for_version", "v014", "v015", "v017", "v020", "v021"]


class _Literal:
    """Finds the modules of a generation's package that have no file of their own."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}.v0"):
            return None
        generation, _, module = fullname.removeprefix(f"{__name__}.").partition(".")
        if generation not in __all__ or not module:
            return None
        from . import _served

        return _served.literal(generation).spec(f"natten.{module}")


sys.meta_path.append(_Literal())


def for_version(version: str) -> ModuleType:
    """Returns the module with the API of a NATTEN version, such as "0.17.5".

    Where a name means one thing in natten-mps 0.3.3 and another in NATTEN, this module follows
    NATTEN. The literal path, ``natten_mps.compat.v017``, follows 0.3.3 or raises an error.
    """
    return _upstream(generation(version))


@cache
def _upstream(generation: str) -> ModuleType:
    literal = importlib.import_module(f"{__name__}.{generation}")
    from . import _literal, _served

    module = ModuleType(literal.__name__, literal.__doc__)
    for name in ("__spec__", "__file__", "__path__", "__package__", "__loader__"):
        setattr(module, name, getattr(literal, name))
    _literal.extend(generation, vars(module))
    _served.fill(_served.literal(generation), "natten", vars(module))
    return module


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
