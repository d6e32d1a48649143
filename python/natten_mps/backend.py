# SPDX-License-Identifier: MIT
"""Which backend computes: the choice of the user and of the environment (NATTEN_BACKEND)."""

import os

from . import _lib
from ._log import logger

#: What a user may choose. `reference` (slow, float64) is for tests.
NAMES = ("auto", "pure", "metal", "native", "reference")
_ALIASES = {"nanobind": "native"}

choice = "auto"


def _canonical(name: str) -> str:
    wanted = _ALIASES.get(name, name) if isinstance(name, str) else name
    if wanted not in NAMES:
        raise ValueError(f"Unknown backend {name!r}. Expected one of: {list(NAMES)}.")
    return wanted


def set_backend(name: str) -> None:
    """Choose what computes from now on.

    `"auto"`: the best that takes a problem, `"metal"`: Apple GPUs, `"native"` (or `"nanobind"`):
    the compiled CPU engine, `"pure"`: PyTorch operations only, `"reference"`: slow and exact.

    Raises ValueError for another name and NotImplementedError for a backend that cannot run here.
    """
    global choice
    wanted = _canonical(name)
    if wanted not in ("auto", "pure") and not available(wanted):
        raise NotImplementedError(
            f"Backend {wanted!r} is not available in this build. Use set_backend('pure') or"
            f" set_backend('auto'). Reason: {details(wanted)}"
        )
    choice = wanted


def get_backend() -> str:
    """The backend that the current choice comes to on this machine, never `"auto"`."""
    if choice != "auto":
        return choice
    return next((name for name in ("metal", "native") if available(name)), "pure")


def available(name: str) -> bool:
    """Whether a backend can run on this machine."""
    return name == "pure" or any(b["name"] == name and b["available"] for b in _found())


def details(name: str) -> str:
    """What a backend found on this machine, or why it cannot run."""
    if name == "pure":
        return "PyTorch operations"
    try:
        for backend in _lib.backends():
            if backend["name"] == name:
                return str(backend["details"])
    except (_lib.LibraryError, _lib.ForkedError) as error:
        return str(error)
    return f"the library has no backend {name!r}"


def _found() -> list[dict[str, object]]:
    try:
        return _lib.backends()
    except (_lib.LibraryError, _lib.ForkedError) as error:
        logger.debug("no library: %s", error)
        return []


def has_metal() -> bool:
    """Whether the Metal backend can run here."""
    return available("metal")


def has_mps() -> bool:
    """Whether PyTorch has an MPS device here."""
    import torch

    return bool(torch.backends.mps.is_available())


def _from_environment() -> str:
    wanted = os.environ.get("NATTEN_BACKEND", "").strip().lower() or "auto"
    try:
        return _canonical(wanted)
    except ValueError as error:
        logger.warning("NATTEN_BACKEND: %s Using 'auto'.", error)
        return "auto"


choice = _from_environment()
