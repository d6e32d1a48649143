# SPDX-License-Identifier: MIT
"""torch.ops.natten_mps outlives this package's modules: importing them again redefines it."""

import torch

# The namespace is an object of torch, so its attributes live as long as torch does.
_KEPT = "_libraries_of_the_last_import"


def define() -> torch.library.Library:
    """Return the library that defines the operations; removes those of an earlier import."""
    held = vars(torch.ops.natten_mps).get(_KEPT, [])
    while held:
        held.pop()._destroy()
    return _keep(torch.library.Library("natten_mps", "DEF"))


def extend() -> torch.library.Library:
    """Return a library that adds to these operations."""
    return _keep(torch.library.Library("natten_mps", "FRAGMENT"))


def _keep(library: torch.library.Library) -> torch.library.Library:
    vars(torch.ops.natten_mps).setdefault(_KEPT, []).append(library)
    return library
