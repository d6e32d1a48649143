# SPDX-License-Identifier: MIT
"""Neighborhood attention for PyTorch on Apple GPUs and CPUs.

Importing this package imports no torch; the first use of a name below does.
"""

from importlib import import_module
from typing import Any

from .version import __version__ as __version__

_HOMES = {
    "functional": (
        "na1d", "na1d_varlen", "na2d", "na2d_varlen", "na3d", "na3d_varlen", "na1d_qk", "na1d_av",
        "na2d_qk", "na2d_av", "na3d_qk", "na3d_av",
    ),
    "merge": ("merge_attentions",),
    "modules": (
        "NeighborhoodAttention1D", "NeighborhoodAttention2D", "NeighborhoodAttention3D",
    ),
    "backend": ("has_mps", "has_metal", "get_backend", "set_backend"),
    "support_matrix": ("get_support_matrix",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_SUBMODULES = frozenset(
    ("autograd", "compat", "extras", "functional", "merge", "modules", "nn", "utils", "viz")
)

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
