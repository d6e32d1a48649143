# SPDX-License-Identifier: MIT
"""Selects how the library's work on MPS tensors is ordered with torch's own work.

There are several ways, called tiers, from the fastest to the simplest:

- `1-block`: in the open encoder of torch's current stream, inside a command block
- `1-queue`: in the same encoder, inside the dispatch queue of torch's default stream
- `2`: the library's kernels, launched by torch.mps.compile_shader
- `3`: on a queue of the library's own: wait for torch before, and for the result after each run

One is selected at first use, unless NATTEN_MPS_TIER names it ("1" is the better of the first two).
Each is tested before it is used (see `verdict`). If one computes wrong numbers, none is used, since
all run the same kernels.
"""

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .. import _abi, _lib
from .._log import logger
from . import verdict
from .device import Carrier, Run, carrier

OVERRIDE = "NATTEN_MPS_TIER"

#: First and last version of torch whose macOS wheels were examined, and the first version with what
#: each tier needs; see tests/downstream/torch_symbols.py.
EXAMINED = ((2, 8), (2, 15))
FIRST_WITH = {"1-block": (2, 10), "1-queue": (2, 8)}

#: Descriptions of the tiers for users.
MEANING = {
    "1-block": "in torch's current stream, in a command block (the best)",
    "1-queue": "in torch's default stream, in its dispatch queue",
    "2": "launched by torch.mps.compile_shader",
    "3": "on a queue of its own, waiting for torch and to the end each time",
}

STREAMS = {
    "1-block": _abi.STREAM_TORCH,
    "1-queue": _abi.STREAM_TORCH_QUEUE,
    "2": _abi.STREAM_OWN,  # unused: in this tier the library runs nothing itself
    "3": _abi.STREAM_OWN,
}

#: A Run for a tier that needs the tensors themselves, by their field names in natten_mps_args.
Launch = Callable[[int, bytes, int, Mapping[str, Tensor]], int]


class Stream(NamedTuple):
    """How to run plans on Metal memory."""

    tier: str
    locate: Callable[[Tensor], tuple[int, int]]
    run: Run
    launch: Launch | None


class Choice(NamedTuple):
    """The stream, or None, and why each better tier was not selected."""

    stream: Stream | None
    refused: dict[str, str]

    def why_not(self) -> str:
        """The reasons in one line; a reason that all tiers share is listed once."""
        if len(set(self.refused.values())) == 1:
            return next(iter(self.refused.values()))
        return "; ".join(f"tier {tier}: {reason}" for tier, reason in self.refused.items())


_lock = _lib.fork_safe_lock()
_choice: Choice | None = None

#: Whether to use tiers without a test, as the self-test process does.
trusted = False


def choice() -> Choice:
    """The tier of this process, decided on the first call."""
    global _choice
    if _choice is None:
        with _lock:
            if _choice is None:
                _choice = _choose(carrier())
                _log(_choice)
    return _choice


def forget() -> None:
    """Decide again at the next call: for tests that change the environment."""
    global _choice
    _choice = None


def refused() -> str | None:
    """Why no tier is used, if that is decided already."""
    return _choice.why_not() if _choice is not None and _choice.stream is None else None


def stream() -> Stream:
    """The selected stream; raises NotImplementedError with the reasons if there is none."""
    found = choice()
    if found.stream is None:
        raise NotImplementedError(found.why_not())
    return found.stream


def plays(device: torch.device) -> bool:
    """Whether tensors on a device are in Metal memory."""
    return device.type == carrier().device


def _log(made: Choice) -> None:
    if made.stream is not None:
        logger.info("MPS tensors: tier %s (%s)", made.stream.tier, made.why_not() or "the best")
    else:
        logger.info("MPS tensors: no tier (%s)", made.why_not())


def _candidates() -> list[str]:
    wanted = os.environ.get(OVERRIDE, "").strip()
    if not wanted:
        return list(STREAMS)
    found = [tier for tier in STREAMS if wanted in (tier, tier[0])]
    if not found:
        raise ValueError(f"{OVERRIDE} is {wanted!r} (want 1, {', '.join(STREAMS)})")
    return found


def _choose(device: Carrier) -> Choice:
    refused: dict[str, str] = {}
    reason = device.why_not()
    for tier in _candidates():
        why = reason or _refusal(tier, device)
        if why is None:
            return Choice(_stream(tier, device), refused)
        refused[tier] = why
        if verdict.is_wrong(why):
            reason = why
    return Choice(None, refused)


def _refusal(tier: str, device: Carrier) -> str | None:
    """Why a tier cannot be used; if this is None, the library is now configured for it.

    Through torch's stream the library finds torch's GPU, even if it found none by itself.
    """
    first = FIRST_WITH.get(tier)
    if first is not None and device.torch_version() < first:
        return f"torch {_text(device.torch_version())} has no such way (want {_text(first)})"
    if tier == "2" and not device.has_shaders():
        return f"torch {torch.__version__} has no torch.mps.compile_shader"
    try:
        reason = device.probe() or _set(tier, device)
    except (RuntimeError, OSError) as error:
        reason = str(error)
    if reason is None and not trusted and verdict.mode() != "off":
        reason = verdict.self_test(tier, device)
        if reason is not None:
            _set("3", device)
    return reason


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _set(tier: str, device: Carrier) -> str | None:
    options, error = _abi.new(_abi.StreamOptions), _abi.new(_abi.Error)
    options.stream = STREAMS[tier]
    if STREAMS[tier] != _abi.STREAM_OWN:
        options.torch_library = device.torch_library().encode()
    if _lib.library().natten_mps_stream_set(options, error):
        return str(error.message.decode("utf-8", "replace"))
    return None


def _stream(tier: str, device: Carrier) -> Stream:
    run: Run = _lib.library().natten_mps_run
    if tier == "2":
        from .launcher import Launcher

        return Stream(tier, device.locate, run, Launcher(device).launch)
    if tier == "3":
        run = _after(device.synchronize, run)
    return Stream(tier, device.locate, device.settled(run), None)


def _after(wait: Callable[[], None], run: Run) -> Run:
    def waited(plan: int, args: bytes, error: int) -> int:
        wait()
        return run(plan, args, error)

    return waited
