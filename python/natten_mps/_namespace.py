# SPDX-License-Identifier: MIT
"""torch.ops.natten_mps, which outlives the package's modules: a second import takes it over."""

import torch

# The namespace is torch's own object, so that what is kept at it survives as long as it does.
_KEPT = "_libraries_of_the_last_import"


def define() -> torch.library.Library:
    """The library in which this import defines operations; those of one before are taken back."""
    held = vars(torch.ops.natten_mps).get(_KEPT, [])
    while held:
        held.pop()._destroy()
    return _keep(torch.library.Library("natten_mps", "DEF"))


def extend() -> torch.library.Library:
    """A library that adds to those operations."""
    return _keep(torch.library.Library("natten_mps", "FRAGMENT"))


def _keep(library: torch.library.Library) -> torch.library.Library:
    vars(torch.ops.natten_mps).setdefault(_KEPT, []).append(library)
    return library
