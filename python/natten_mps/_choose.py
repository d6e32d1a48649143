# SPDX-License-Identifier: MIT
"""Which backend computes a problem."""

import warnings

import torch

from . import _abi, _lib, _plan, backend
from ._log import logger
from ._mps import tiers


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
    best = {"cpu": "native", "mps": "metal"}.get(device.type, "none")
    try:
        against = _against(problem, device, best)
    except (_lib.LibraryError, _lib.ForkedError) as error:
        against = str(error)
    if against is None:
        return best
    logger.info("pure computes %s: %s", problem, against)
    _warn(against)
    return "pure"


def _against(problem: _plan.Problem, device: torch.device, name: str) -> str | None:
    if device.type not in ("cpu", "mps"):
        return f"tensors are on {device.type} (want cpu or mps)"
    if all(b["name"] != name for b in _lib.backends()):
        return backend.details(name)
    against = _plan.reasons_against(problem, name)
    if against is None and problem.memory == _abi.METAL and tiers.choice().stream is None:
        return tiers.choice().why_not()
    return against


_warned: set[str] = set()


def _warn(reason: str) -> None:
    """Say once of each reason that nobody asked for `pure`."""
    if reason not in _warned:
        _warned.add(reason)
        warnings.warn(f"natten_mps computes with 'pure' in this process: {reason}", stacklevel=2)
