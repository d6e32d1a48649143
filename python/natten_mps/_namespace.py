# SPDX-License-Identifier: MIT
"""torch.ops.natten_mps outlives this package: importing it again redefines the operations, and
caches of compiled code outlive the process."""

import torch
from torch.compiler import config

from .version import __version__

# The namespace is an object of torch, so its attributes live as long as torch does.
_KEPT = "_libraries_of_the_last_import"


def define() -> torch.library.Library:
    """Return the library that defines the operations; removes those of an earlier import."""
    held = vars(torch.ops.natten_mps).get(_KEPT, [])
    while held:
        held.pop()._destroy()
    _mark_compiled_code()
    return _keep(torch.library.Library("natten_mps", "DEF"))


def extend() -> torch.library.Library:
    """Return a library that adds to these operations."""
    return _keep(torch.library.Library("natten_mps", "FRAGMENT"))


def _mark_compiled_code() -> None:
    """Keep torch.compile from reusing code that it compiled for another version of this package.

    Its cache knows the operations by name. The compiled code also depends on the strides of their
    results and on their gradients, which may differ.
    """
    tag, mark = config.cache_key_tag, f"natten_mps {__version__}"
    if mark not in tag.split("; "):
        config.cache_key_tag = f"{tag}; {mark}" if tag else mark


def _keep(library: torch.library.Library) -> torch.library.Library:
    vars(torch.ops.natten_mps).setdefault(_KEPT, []).append(library)
    return library
