# SPDX-License-Identifier: MIT
"""Backend selection, by function calls or by the environment variable NATTEN_BACKEND."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import _lib
from ._log import logger

#: Valid choices. `reference` (slow, float64) is for tests.
NAMES = ("auto", "pure", "metal", "native", "reference")
_OPS = ("na1d", "na2d", "na3d", "split_qk_av")
_CONSTRAINTS = {
    "pure": [],
    "metal": [
        "Tensors on an MPS device.",
        "float32, float16 and bfloat16, computed natively; sums in float32.",
    ],
    "native": [
        "Tensors in host memory.",
        "float32, float16, bfloat16 and float64; sums in float32, or float64 for float64.",
    ],
}


_ALIASES = {"nanobind": "native"}

choice = "auto"


def _canonical(name: str) -> str:
    wanted = _ALIASES.get(name, name) if isinstance(name, str) else name
    if wanted not in NAMES:
        raise ValueError(f"Unknown backend {name!r}. Expected one of: {list(NAMES)}.")
    return wanted


def set_backend(name: str) -> None:
    """Select the backend for all threads from now on.

    Args:
        name: `"auto"`: the best backend that supports a problem; `"metal"`: Apple GPUs;
            `"native"` (or `"nanobind"`): the compiled CPU engine; `"pure"`: PyTorch operations
            only; `"reference"`: slow and exact.

    Raises:
        ValueError: if there is no backend with that name.
        NotImplementedError: if the backend cannot run on this machine, with the reason.

    Examples:
        >>> from natten_mps import get_backend, set_backend
        >>> set_backend("pure")
        >>> get_backend()
        'pure'
    """
    global choice
    wanted = _canonical(name)
    if wanted not in ("auto", "pure") and not available(wanted):
        raise NotImplementedError(
            f"Backend {wanted!r} is not available in this build. Use set_backend('pure') or"
            f" set_backend('auto'). Reason: {details(wanted)}"
        )
    choice = wanted


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Select the backend inside a `with` block or, as a decorator, inside a function.

    Args:
        name: as for `set_backend`. The selection applies to all threads here, too.

    Yields:
        Nothing. On exit, also by an exception, the previous selection is restored.

    Raises:
        ValueError: if there is no backend with that name.
        NotImplementedError: if the backend cannot run on this machine, with the reason.

    Examples:
        >>> from natten_mps import get_backend, use_backend
        >>> with use_backend("pure"):
        ...     get_backend()
        'pure'
    """
    global choice
    before = choice
    set_backend(name)
    try:
        yield
    finally:
        choice = before


def get_backend() -> str:
    """Return the backend that the current selection resolves to on this machine, never `"auto"`.

    Returns:
        A name that `set_backend` accepts.

    Examples:
        >>> from natten_mps import get_backend, use_backend
        >>> with use_backend("pure"):
        ...     get_backend()
        'pure'
    """
    if choice != "auto":
        return choice
    return next((name for name in ("metal", "native") if available(name)), "pure")


def available(name: str) -> bool:
    """Whether a backend can run on this machine.

    Args:
        name: as for `set_backend`, except `"auto"`.

    Returns:
        Whether it can run.
    """
    if name == "pure" or any(b["name"] == name and b["available"] for b in _found()):
        return True
    return name == "metal" and _torch_finds_the_gpu()


def details(name: str) -> str:
    """Describe what a backend found on this machine, or why it cannot run.

    Args:
        name: as for `set_backend`, except `"auto"`.

    Returns:
        One line of text.
    """
    if name == "pure":
        return "PyTorch operations"
    if name == "metal" and (why := _tensors_refused()) is not None:
        return why
    try:
        for backend in _lib.backends():
            if backend["name"] == name:
                return str(backend["details"])
    except (_lib.LibraryError, _lib.ForkedError) as error:
        return str(error)
    return f"the library has no backend {name!r}"


def _tensors_refused() -> str | None:
    """Why the GPU backend cannot use MPS tensors, if that is known already."""
    tiers = sys.modules.get(f"{__package__}._mps.tiers")
    return None if tiers is None else tiers.refused()


def _torch_finds_the_gpu() -> bool:
    """Whether the library finds a GPU through torch's stream after finding none by itself."""
    if not (_found() and has_mps()):
        return False
    from ._mps import tiers

    return tiers.choice().stream is not None


def _found() -> list[dict[str, object]]:
    try:
        return _lib.backends()
    except (_lib.LibraryError, _lib.ForkedError) as error:
        logger.debug("no library: %s", error)
        return []


def has_metal() -> bool:
    """Whether the Metal backend can run here.

    Returns:
        False if there is no compiled library or no Apple GPU.
    """
    return available("metal")


def has_mps() -> bool:
    """Whether PyTorch has an MPS device here.

    Returns:
        The result of `torch.backends.mps.is_available()`.
    """
    import torch

    return bool(torch.backends.mps.is_available())


def get_support_matrix() -> dict[str, dict[str, Any]]:
    """Describe what each backend can do on this machine.

    Returns:
        For each of `"pure"`, `"metal"` and `"native"`: `available`, `details` (what it found, or
        why it cannot run), the operations it supports for `forward`, `backward`, `varlen` and
        `fusion`, and `constraints`.

    Examples:
        >>> from natten_mps import get_support_matrix
        >>> sorted(get_support_matrix())
        ['metal', 'native', 'pure']
    """
    return {name: _row(name) for name in ("pure", "metal", "native")}


def _row(name: str) -> dict[str, Any]:
    return {
        "available": available(name),
        "details": details(name),
        "forward": dict.fromkeys(_OPS, True),
        "backward": dict.fromkeys(_OPS, True),
        "varlen": dict.fromkeys(_OPS[:3], True),
        "fusion": dict.fromkeys(_OPS[:3], name != "pure"),
        "constraints": list(_CONSTRAINTS[name]),
    }


def _from_environment() -> str:
    wanted = os.environ.get("NATTEN_BACKEND", "").strip().lower() or "auto"
    try:
        return _canonical(wanted)
    except ValueError as error:
        logger.warning("NATTEN_BACKEND: %s Using 'auto'.", error)
        return "auto"


choice = _from_environment()
