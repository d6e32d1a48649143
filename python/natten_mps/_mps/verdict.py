# SPDX-License-Identifier: MIT
"""Runs the self-test of a tier in a child process, because a failed assertion in Metal kills the
process, and stores the verdict for this version of torch, system and library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from .. import _lib
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
#: Folder of the stored verdicts.
FOLDER = "NATTEN_MPS_CACHE"
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


def path() -> Path:
    """The file that stores the verdicts."""
    folder = os.environ.get(FOLDER)
    if folder:
        return Path(folder) / "verdicts.json"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "natten_mps" / "verdicts.json"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "natten_mps" / "verdicts.json"


def self_test(tier: str, device: Carrier) -> str | None:
    """Why the tier failed its self-test; None if it passed."""
    key = _key(tier, device)
    known = _read()
    if key not in known:
        logger.info("testing tier %s once, in a process of its own", tier)
        known[key] = _ask(tier)
        _write(known)
    return known[key] or None


def _key(tier: str, device: Carrier) -> str:
    built = _lib.path().stat().st_mtime_ns
    parts = (tier, torch.__version__, __version__, str(built), device.identity())
    return " | ".join(parts)


def _read() -> dict[str, str]:
    try:
        known = json.loads(path().read_text())
    except (OSError, ValueError) as error:
        logger.debug("no verdicts yet: %s", error)
        return {}
    return known if isinstance(known, dict) else {}


def _write(known: dict[str, str]) -> None:
    where = path()
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        partial = where.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(known, indent=1))
        partial.replace(where)
    except OSError as error:
        logger.info("the self-test's verdict is not kept: %s", error)


def _ask(tier: str) -> str:
    """Run the self-test; returns an empty string if it passed, and the reason otherwise."""
    environment = {
        **os.environ,
        "NATTEN_MPS_TIER": tier,
        "NATTEN_BACKEND": "metal",
        VERIFY: "first",
    }
    root = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(
        part for part in (root, environment.get("PYTHONPATH", "")) if part
    )
    command = [sys.executable, "-m", f"{__package__}.selftest"]
    if getattr(sys, "frozen", False):  # sys.executable is the program, not Python
        if not hasattr(sys, "_natten_mps_self_test"):
            return "this program was frozen without natten_mps's hook, and cannot test itself"
        command, environment[FROZEN] = [sys.executable], tier
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the self-test did not finish: {error}"
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode == WRONG_STATUS:
        said = last.replace(f" {WRONG}", ": ")
        return (
            f"{WRONG}{said} (in the self-test of tier {tier}; please send us what "
            "`python -m natten_mps.doctor --report FILE` writes)"
        )
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    return f"the self-test ended with {how}: {last}"
