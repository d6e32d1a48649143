# SPDX-License-Identifier: MIT
"""Neighborhood attention for PyTorch on Apple GPUs and CPUs.

Importing this package does not import torch. The first use of one of the names below does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import autograd as autograd
    from . import backend as backend
    from . import compat as compat
    from . import distributed as distributed
    from . import export as export
    from . import extras as extras
    from . import functional as functional
    from . import merge as merge
    from . import modules as modules
    from . import nn as nn
    from . import streaming as streaming
    from . import utils as utils
    from . import viz as viz
    from ._lib import LibraryError as LibraryError
    from .backend import get_backend as get_backend
    from .backend import get_support_matrix as get_support_matrix
    from .backend import has_metal as has_metal
    from .backend import has_mps as has_mps
    from .backend import set_backend as set_backend
    from .backend import use_backend as use_backend
    from .functional import na1d as na1d
    from .functional import na1d_av as na1d_av
    from .functional import na1d_packed as na1d_packed
    from .functional import na1d_qk as na1d_qk
    from .functional import na1d_varlen as na1d_varlen
    from .functional import na2d as na2d
    from .functional import na2d_av as na2d_av
    from .functional import na2d_qk as na2d_qk
    from .functional import na2d_varlen as na2d_varlen
    from .functional import na3d as na3d
    from .functional import na3d_av as na3d_av
    from .functional import na3d_qk as na3d_qk
    from .functional import na3d_varlen as na3d_varlen
    from .merge import merge_attentions as merge_attentions
    from .modules import NeighborhoodAttention1D as NeighborhoodAttention1D
    from .modules import NeighborhoodAttention2D as NeighborhoodAttention2D
    from .modules import NeighborhoodAttention3D as NeighborhoodAttention3D

_HOMES = {
    "functional": (
        "na1d", "na1d_packed", "na1d_varlen", "na2d", "na2d_varlen", "na3d", "na3d_varlen",
        "na1d_qk", "na1d_av", "na2d_qk", "na2d_av", "na3d_qk", "na3d_av",
    ),
    "merge": ("merge_attentions",),
    "modules": (
        "NeighborhoodAttention1D", "NeighborhoodAttention2D", "NeighborhoodAttention3D",
    ),
    "backend": (
        "has_mps", "has_metal", "get_backend", "get_support_matrix", "set_backend", "use_backend",
    ),
    "_lib": ("LibraryError",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_SUBMODULES = frozenset(
    ("autograd", "backend", "compat", "distributed", "export", "extras", "functional", "merge",
     "modules", "nn", "streaming", "utils", "viz")
)  # fmt: skip

__all__ = sorted([*_HOME, "__version__"])


if not TYPE_CHECKING:  # a type checker would otherwise accept any name

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
            globals()[name] = value
            return value
        if name in _SUBMODULES:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES})
