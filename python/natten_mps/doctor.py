# SPDX-License-Identifier: MIT
"""`python -m natten_mps.doctor`: what this installation found, what it chose and why."""

import argparse
import json
import os
import platform
import sys
from typing import Any

from . import _abi, _lib, backend
from .version import __version__

#: Environment variables that change what the package does.
VARIABLES = (
    "NATTEN_BACKEND",
    "NATTEN_LOG_LEVEL",
    "NATTEN_MPS_CACHE",
    "NATTEN_MPS_LIBRARY",
    "NATTEN_MPS_SIMULATOR",
    "NATTEN_MPS_TIER",
)


def report() -> dict[str, Any]:
    """Everything that the command prints, as plain values."""
    return {
        "natten_mps": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "library": _library(),
        "torch": _torch(),
        "backends": _backends(),
        "chosen": backend.get_backend(),
        "mps": _mps(),
        "self_check": _self_check(),
    }


def _library() -> dict[str, Any]:
    found: dict[str, Any] = {"path": str(_lib.path()), "loaded": False}
    try:
        library = _lib.library()
    except (_lib.LibraryError, _lib.ForkedError) as error:
        return {**found, "reason": str(error)}
    return {
        **found,
        "loaded": True,
        "version": library.natten_mps_version().decode(),
        "abi": [library.natten_mps_abi_minimum(), library.natten_mps_abi_version()],
        "abi_of_package": _abi.ABI_VERSION,
        "threads": library.natten_mps_get_num_threads(),
    }


def _torch() -> dict[str, Any]:
    try:
        import torch
    except ImportError as error:
        return {"reason": str(error)}
    return {
        "version": torch.__version__,
        "mps_built": torch.backends.mps.is_built(),
        "mps_available": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
    }


def _backends() -> list[dict[str, Any]]:
    names = [name for name in backend.NAMES if name != "auto"]
    return [
        {"name": n, "available": backend.available(n), "details": backend.details(n)} for n in names
    ]


def _mps() -> dict[str, Any]:
    """Which tier MPS tensors use, and why not a better one."""
    from . import _mps as tiers
    from . import _verdict

    try:
        choice = tiers.choice()
    except (ValueError, ImportError, _lib.ForkedError) as error:
        return {"tier": None, "refused": {"all": str(error)}}
    return {
        "tier": None if choice.stream is None else choice.stream.tier,
        "refused": choice.refused,
        "examined_torch": [".".join(map(str, v)) for v in tiers.EXAMINED],
        "verdicts": str(_verdict.path()),
    }


def _self_check() -> dict[str, str]:
    """The largest difference from `pure`, of each backend that computes here, or its failure."""
    import torch

    from . import _selftest

    results = {}
    before = backend.choice
    for name in (n for n in ("native", "metal", "reference") if backend.available(n)):
        try:
            backend.set_backend(name)
            device = "mps" if name == "metal" and torch.backends.mps.is_available() else "cpu"
            _selftest.compare(device)
            results[name] = "passed"
        except (ArithmeticError, RuntimeError, ValueError, MemoryError) as error:
            results[name] = f"failed: {error}"
        finally:
            backend.choice = before
    return results


def text(found: dict[str, Any]) -> str:
    """The report for people."""
    lines: list[str] = []
    _write(lines, found, "")
    return "\n".join(lines)


def _write(lines: list[str], value: dict[str, Any], indent: str) -> None:
    for key, part in value.items():
        if isinstance(part, dict) and part:
            lines.append(f"{indent}{key}:")
            _write(lines, part, indent + "  ")
        elif key == "backends":
            lines.append("backends:")
            for b in part:
                mark = "yes" if b["available"] else "no "
                lines.append(f"  {b['name']:<10} {mark}  {b['details']}")
        else:
            lines.append(f"{indent}{key}: {_plain(part)}")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(str, value))
    if isinstance(value, dict):
        return "none"
    return str(value)


def main(arguments: list[str] | None = None) -> int:
    """The command; its status is 1 if something that should work does not."""
    parser = argparse.ArgumentParser(
        prog="python -m natten_mps.doctor",
        description="Print what natten_mps found on this machine: the compiled library and its "
        "versions, each backend or the reason why it cannot run, the way in which MPS tensors are "
        "computed (the tier) and why not a better one, and a self-check of each backend. The "
        "status is 1 if the library does not load or a self-check fails.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    found = report()
    print(json.dumps(found, indent=2) if options.json else text(found))
    failed = any(result != "passed" for result in found["self_check"].values())
    return 1 if failed or not found["library"]["loaded"] else 0


if __name__ == "__main__":
    sys.exit(main())
