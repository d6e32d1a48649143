# SPDX-License-Identifier: MIT
"""Which backend computes a problem."""

import warnings

import torch

from . import _abi, _lib, _plan, backend
from ._log import logger
from ._mps import tiers

#: What "auto" comes to by the kind of device.
_BEST = {"cpu": "native", "mps": "metal"}


def in_metal_memory(device: torch.device) -> bool:
    return device.type == "mps" or (backend.choice == "metal" and tiers.plays(device))


def choose(problem: _plan.Problem, device: torch.device) -> str:
    """The backend that computes a problem: the chosen one, or with "auto" the first that takes it,
    which is `pure` where the library has none. Meta tensors have only shapes, for `pure` to give.
    """
    chosen = backend.choice
    if chosen == "pure" or device.type == "meta":
        return "pure"
    if chosen != "auto":
        against = _against(problem, device, chosen)
        if against is not None:
            raise NotImplementedError(f"backend {chosen!r} does not take this problem: {against}")
        return chosen
    best = _BEST.get(device.type, "none")
    try:
        against = _against(problem, device, best)
    except (_lib.LibraryError, _lib.ForkedError) as error:
        against = str(error)
    if against is None:
        return best
    logger.info("pure computes %s: %s", problem, against)
    warn_once(against)
    return "pure"


def _against(problem: _plan.Problem, device: torch.device, name: str) -> str | None:
    if device.type not in ("cpu", "mps"):
        return f"tensors are on {device.type} (want cpu or mps)"
    if all(b["name"] != name for b in _lib.backends()):
        return backend.details(name)
    # A tier comes first: with torch's stream the library may find a GPU that it had not found.
    no_tier = None
    if problem.memory == _abi.METAL and tiers.choice().stream is None:
        no_tier = tiers.choice().why_not()
    return _plan.reasons_against(problem, name) or no_tier


#: How the library says that it replaced kernels, see core/metal/backend.go.
PLAINER = "plainer kernels where the tuned ones were refused: "

_warned: set[str] = set()


def warn_once(reason: str, kind: str | None = None) -> None:
    """Say once of each reason, or kind of reasons, that nobody asked for `pure`."""
    _warn(f"natten_mps computes with 'pure' in this process: {reason}", kind or reason)


def warn_of_plainer_kernels() -> None:
    """Say once that the GPU backend had to replace kernels, if it had."""
    _, replaced, why = backend.details("metal").partition(PLAINER)
    if replaced:
        _warn(f"natten_mps uses {PLAINER}{why}", PLAINER)


def _warn(text: str, kind: str) -> None:
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(text, stacklevel=2)
