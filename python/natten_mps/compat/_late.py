# SPDX-License-Identifier: MIT
"""Fixes modules that tried to import ``natten`` before it was activated and recorded its absence.

The meaning of a program's own flags cannot be guessed, so a warning names them. Values that are
known to record nothing but the absence are replaced.
"""

import importlib
import re
import sys
import warnings
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

# NATTEN names that programs import, and typical names of flags about it ("unattended" is
# unrelated).
_NAMES = re.compile(
    r"(?<!u)natten|^na[123]d(_qk|_av|$)|^NeighborhoodAttention[123]D$", re.IGNORECASE
)
_OPERATION = re.compile(r"^natten[123]d(qkrpb|qk|av)$")

# Flags that mean only that the package is installed.
_FLAGS = {("transformers.utils.import_utils", "_natten_available")}


def _memories() -> Iterator[tuple[ModuleType, str, Any]]:
    """Module, name and value of everything in loaded modules whose name refers to NATTEN."""
    for name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or name.split(".")[0] in ("natten", "natten_mps"):
            continue
        for key, value in list(vars(module).items()):
            if _NAMES.search(key):
                yield module, key, value


def _is_stand_in(module: ModuleType, key: str, value: Any) -> bool:
    """Whether a function is a module's placeholder for one that it failed to import."""
    return (
        isinstance(value, FunctionType)
        and value.__module__ == module.__name__
        and _OPERATION.match(key) is not None
    )


def _restore(module: ModuleType, key: str, value: Any) -> bool:
    """Replaces one value if that is known to be safe; returns whether it did."""
    if (module.__name__, key) in _FLAGS:
        setattr(module, key, True)
    elif key == "natten" and value is None:
        module.natten = importlib.import_module("natten")  # type: ignore[attr-defined]
    elif module.__name__.startswith("transformers.models.") and _is_stand_in(module, key, value):
        functional = importlib.import_module("natten.functional")
        if not hasattr(functional, key):
            return False
        setattr(module, key, getattr(functional, key))
    else:
        return False
    return True


def reconsider(version: str) -> None:
    """Fixes known values, and warns about all others with the names of their modules."""
    stale: dict[str, list[str]] = {}
    for module, key, value in _memories():
        if callable(getattr(value, "cache_clear", None)):
            value.cache_clear()
            continue
        missing = value is None or value is False or _is_stand_in(module, key, value)
        if missing and not _restore(module, key, value):
            stale.setdefault(module.__name__, []).append(key)
    for name, keys in stale.items():
        warnings.warn(
            f"{name} looked for natten before natten_mps.compat.activate({version!r}) and "
            f"remembers in {', '.join(keys)} that it was missing; activate before {name} is "
            f"imported, or call importlib.reload(sys.modules[{name!r}]) now",
            RuntimeWarning,
            stacklevel=3,
        )
