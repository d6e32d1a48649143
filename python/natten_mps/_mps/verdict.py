# SPDX-License-Identifier: MIT
"""Runs the self-test of a tier in a child process, because a failed assertion in Metal kills the
process, and stores the verdict for this version of torch, system and library.

A verdict that the same versions would give again is kept: a pass, wrong numbers, a crash. All else
may be due to the moment, such as a lack of memory, and is kept for the day.
"""

import datetime
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from .. import _child, _lib
from .._log import logger
from ..version import __version__
from .device import Carrier

#: Whether tiers and kernels are tested before their first use: "off", "first" (the default), or
#: "always", which also compares every result with the library's reference.
VERIFY = "NATTEN_MPS_VERIFY"
#: Exit status of a self-test with wrong numbers, and the prefix of such a verdict. The library's
#: checks report it with the kernels before it.
WRONG_STATUS = 3
WRONG = "computes wrongly: "
#: What a self-test says last if it passed. Its exit status is not enough: a process that ignores
#: SIGCHLD sees 0 whatever happened.
PASSED = "the self-test passed"
#: Prefix of the verdict on a self-test that ended with one of the signals of a crash. Other signals
#: are sent from outside.
CRASHED = "the self-test crashed with "
_CRASHES = {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}
#: Folder of the stored verdicts.
FOLDER = "NATTEN_MPS_CACHE"
#: The caches of a home folder, in which the stored verdicts are by default.
_CACHE = ("Library", "Caches") if sys.platform == "darwin" else (".cache",)
#: Makes a frozen program run the self-test instead (see _pyinstaller).
FROZEN = "NATTEN_MPS_SELF_TEST"
#: Timeout of a self-test in seconds; it imports torch and compiles kernels.
LIMIT = 180


def mode() -> str:
    """The value of NATTEN_MPS_VERIFY."""
    wanted = os.environ.get(VERIFY, "").strip() or "first"
    if wanted not in ("off", "first", "always"):
        raise ValueError(f"{VERIFY} is {wanted!r} (want off, first or always)")
    return wanted


def is_wrong(reason: str) -> bool:
    """Whether a verdict reports wrong numbers."""
    return reason.startswith(WRONG)


def path() -> Path | None:
    """The file that stores the verdicts; None if there is no home folder for it."""
    folder = os.environ.get(FOLDER)
    if folder:
        return Path(folder) / "verdicts.json"
    given = os.environ.get("XDG_CACHE_HOME") if sys.platform != "darwin" else None
    try:
        cache = Path(given) if given else Path.home().joinpath(*_CACHE)
    except RuntimeError:
        return None
    return cache / "natten_mps" / "verdicts.json"


def self_test(tier: str, device: Carrier) -> str | None:
    """Why the tier failed its self-test; None if it passed."""
    key = _key(tier, device)
    today = f"{key} | {_today()}"
    known = _read()
    for kept in (key, today):
        if kept in known:
            return known[kept] or None
    logger.info("testing tier %s once, in a process of its own", tier)
    why = _ask(tier)
    lasts = not why or why.startswith((WRONG, CRASHED))
    # Read again: other processes may have tested other tiers in the meantime.
    others = {k: v for k, v in _read().items() if not k.startswith(f"{key} | ")}
    _write({**others, key if lasts else today: why})
    return why or None


def _today() -> datetime.date:
    return datetime.date.today()


def _key(tier: str, device: Carrier) -> str:
    built = _lib.path().stat().st_mtime_ns
    parts = (tier, torch.__version__, __version__, str(built), device.identity())
    return " | ".join(parts)


def _read() -> dict[str, str]:
    where = path()
    try:
        known = json.loads(where.read_text()) if where else {}
    except (OSError, ValueError) as error:
        logger.debug("no verdicts yet: %s", error)
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: why for key, why in known.items() if isinstance(why, str)}


def _write(known: dict[str, str]) -> None:
    where = path()
    if where is None:
        logger.info("the self-test's verdict is not kept: there is no home folder")
        return
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        partial = where.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(known, indent=1))
        partial.replace(where)
    except OSError as error:
        logger.info("the self-test's verdict is not kept: %s", error)


def _ask(tier: str) -> str:
    """Run the self-test; returns an empty string if it passed, and the reason otherwise."""
    environment = _child.environment(os.environ)
    environment |= {"NATTEN_MPS_TIER": tier, "NATTEN_BACKEND": "metal", VERIFY: "first"}
    command = _child.command(f"{__package__}.selftest")
    if getattr(sys, "frozen", False):  # sys.executable is the program, not Python
        if not hasattr(sys, "_natten_mps_self_test"):
            return (
                "this program was frozen without natten_mps's hook, and cannot test itself "
                f"({VERIFY}=off does without)"
            )
        command, environment[FROZEN] = [sys.executable], tier
    elif not _child.has_python():
        return (
            f"sys.executable is {sys.executable!r} (want the Python that a self-test can run in; "
            f"{VERIFY}=off does without)"
        )
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the self-test did not finish: {error} ({VERIFY}=off does without)"
    return _judge(tier, done)


def _judge(tier: str, done: subprocess.CompletedProcess[str]) -> str:
    """The reason why a self-test failed; an empty string if it passed."""
    if done.returncode == 0 and _last(done.stdout) == PASSED:
        return ""
    last = _last(done.stderr) or "it said nothing"
    if done.returncode == WRONG_STATUS:
        said = last.replace(f" {WRONG}", ": ")
        return (
            f"{WRONG}{said} (in the self-test of tier {tier}; please send us what "
            "`python -m natten_mps.doctor --report FILE` writes)"
        )
    if -done.returncode in _CRASHES:
        return f"{CRASHED}signal {-done.returncode}: {last}"
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    return f"the self-test ended with {how}: {last}"


def _last(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
