# SPDX-License-Identifier: MIT
"""Passes the active version of ``natten`` on to child processes.

Python starts children by fork, which copies the whole memory, or by running ``sys.executable``:
multiprocessing's spawn and forkserver, DataLoader workers, torchrun, ``subprocess``. In the second
case children read two environment variables: NATTEN_MPS_COMPAT holds the version, and PYTHONPATH
makes ``site`` find a sitecustomize module that activates it.
"""

import os
import site
from pathlib import Path

VARIABLE = "NATTEN_MPS_COMPAT"
_STARTUP = Path(__file__).parent / "_startup"
_ROOT = Path(__file__).parents[2]
_HUB_VARIABLE = "LOCAL_KERNELS"
_HUB_KERNEL = "shi-labs/natten"
_HUB_FOLDER = Path(__file__).parent / "_hub"


def _extended(paths: list[str]) -> list[str]:
    """A search path with the startup folder first and the folder of natten_mps, which an
    interpreter may not search by itself, last."""
    first, last = str(_STARTUP), str(_ROOT)
    paths = [first, *(path for path in paths if path != first)]
    if last not in (*paths, *site.getsitepackages(), site.getusersitepackages()):
        paths.append(last)
    return paths


def environment(version: str) -> dict[str, str]:
    """The environment variables that make a child of this process start with that version."""
    given = os.environ.get("PYTHONPATH")
    paths = _extended(given.split(os.pathsep) if given else [])
    return {VARIABLE: version, "PYTHONPATH": os.pathsep.join(paths)}


def hub_kernels() -> str:
    """LOCAL_KERNELS with this package as the hub's NATTEN, unless it already has such an entry."""
    given = os.environ.get(_HUB_VARIABLE)
    entries = given.split(":") if given else []
    if any(entry.startswith(f"{_HUB_KERNEL}=") for entry in entries):
        return ":".join(entries)
    return ":".join([*entries, f"{_HUB_KERNEL}={_HUB_FOLDER}"])


def serve_hub() -> None:
    """Makes ``kernels.get_kernel("shi-labs/natten")`` load :mod:`natten_mps.compat._hub` here and
    in children. The kernels package reads the variable on each call."""
    # The variable separates entries by colons and has no quoting.
    if ":" not in str(_HUB_FOLDER):
        os.environ[_HUB_VARIABLE] = hub_kernels()
