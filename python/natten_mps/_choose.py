# SPDX-License-Identifier: MIT
"""Selects the backend that computes a problem."""

import os
import sys
import warnings
from pathlib import Path
from types import FrameType

import torch

from . import _abi, _lib, _plan, backend
from ._log import logger
from ._mps import tiers

#: The backend that "auto" prefers, by device type.
_BEST = {"cpu": "native", "mps": "metal"}


def in_metal_memory(device: torch.device) -> bool:
    return device.type == "mps" or (backend.choice == "metal" and tiers.plays(device))


def choose(problem: _plan.Problem, device: torch.device) -> str:
    """Return the backend that computes a problem; raise NotImplementedError if there is none.

    With "auto" it is the preferred backend of the device, or `pure` if that does not support the
    problem. Meta tensors have only shapes and always use `pure`.
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
    # Select the tier first: through torch's stream the library may find a GPU that it missed.
    no_tier = None
    if problem.memory == _abi.METAL and tiers.choice().stream is None:
        no_tier = tiers.choice().why_not()
    return _plan.reasons_against(problem, name) or no_tier


#: How the library reports that it replaced kernels; see core/metal/backend.go.
PLAINER = "plainer kernels where the tuned ones were refused: "

_warned: set[str] = set()


def warn_once(reason: str, kind: str | None = None) -> None:
    """Warn once per reason, or per kind of reason, that `pure` is used although not requested."""
    _warn(f"natten_mps computes with 'pure' in this process: {reason}", kind or reason)


def warn_of_plainer_kernels() -> None:
    """Warn once if the GPU backend had to replace kernels."""
    _, replaced, why = backend.details("metal").partition(PLAINER)
    if replaced:
        _warn(f"natten_mps uses {PLAINER}{why}", PLAINER)


#: Folders of this package and of torch, whose modules and backward pass call this package.
_NOT_THE_CALLER = tuple(str(Path(file).parent) + os.sep for file in (__file__, torch.__file__))


def _warn(text: str, kind: str) -> None:
    """Warn about the innermost line outside this package and torch.

    Python's skip_file_prefixes does the same from 3.12 on.
    """
    if kind in _warned:
        return
    _warned.add(kind)
    frame = sys._getframe()
    while frame.f_back and not _is_caller(frame):
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    module = frame.f_globals.get("__name__") or "natten_mps"
    place = (frame.f_code.co_filename, frame.f_lineno, module)
    warnings.warn_explicit(text, UserWarning, *place, registry)


def _is_caller(frame: FrameType) -> bool:
    """Whether a frame belongs to the program: not to this package, torch or generated code.

    Code that torch generates has no module, or one of torch. Python shows no warning without one.
    """
    module = str(frame.f_globals.get("__name__") or "torch")
    return module.partition(".")[0] != "torch" and not frame.f_code.co_filename.startswith(
        _NOT_THE_CALLER
    )
