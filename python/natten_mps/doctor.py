# SPDX-License-Identifier: MIT
"""`python -m natten_mps.doctor`: what this installation found, what it selected, and why."""

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
    "NATTEN_DISABLE_ISA",
    "NATTEN_LOG_LEVEL",
    "NATTEN_MPS_CACHE",
    "NATTEN_MPS_LIBRARY",
    "NATTEN_MPS_SIMULATOR",
    "NATTEN_MPS_TIER",
)


def report() -> dict[str, Any]:
    """Everything that the command prints, as plain values."""
    found = {
        "natten_mps": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "environment": {name: os.environ[name] for name in VARIABLES if os.environ.get(name)},
        "library": _library(),
        "torch": _torch(),
        "mps": _mps(),
        "self_check": _self_check(),
        "backends": _backends(),  # after the self-check, in which a GPU reports refused kernels
        "chosen": backend.get_backend(),
    }
    return {**found, "problems": _problems(found)}


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
    """Which tier MPS tensors use, and why no better one."""
    from ._mps import tiers, verdict

    try:
        choice = tiers.choice()
    except (ValueError, ImportError, _lib.ForkedError) as error:
        return {"tier": None, "refused": {"all": str(error)}}
    tier = None if choice.stream is None else choice.stream.tier
    return {
        "tier": tier,
        "meaning": None if tier is None else tiers.MEANING[tier],
        "refused": choice.refused,
        "examined_torch": [".".join(map(str, v)) for v in tiers.EXAMINED],
        "verdicts": str(verdict.path() or "nowhere"),
    }


def _problems(found: dict[str, Any]) -> list[str]:
    """Things that should work and do not; the exit status is 1 if there are any."""
    problems = []
    if not found["library"]["loaded"]:
        problems.append(f"the library does not load: {found['library']['reason']}")
    elif not backend.available(found["chosen"]):
        problems.append(
            f"backend {found['chosen']!r} is chosen and cannot run: "
            f"{backend.details(found['chosen'])}"
        )
    mps = found["mps"]
    wanted = os.environ.get("NATTEN_MPS_TIER")
    if mps["tier"] is None and (wanted or found["torch"].get("mps_available")):
        problems.append(f"MPS tensors cannot be computed: {_reasons(mps['refused'])}")
    problems += [
        f"the self-check of {name} {result}"
        for name, result in found["self_check"].items()
        if result != "passed"
    ]
    return problems


def _reasons(refused: dict[str, str]) -> str:
    """Why tiers are refused; a reason that all share is listed once."""
    if len(set(refused.values())) == 1:
        return next(iter(refused.values()))
    return "; ".join(f"{tier}: {reason}" for tier, reason in refused.items())


def _self_check() -> dict[str, str]:
    """The largest difference from `pure` for each available backend, or its failure."""
    import torch

    from ._mps import selftest

    results = {}
    before = backend.choice
    for name in (n for n in ("native", "metal", "reference") if backend.available(n)):
        try:
            backend.set_backend(name)
            device = "mps" if name == "metal" and torch.backends.mps.is_available() else "cpu"
            selftest.compare(device)
            results[name] = "passed"
        except (ArithmeticError, RuntimeError, ValueError, MemoryError) as error:
            results[name] = f"failed: {error}"
        finally:
            backend.choice = before
    return results


def text(found: dict[str, Any]) -> str:
    """Format the report as text."""
    library, torch, lines = found["library"], found["torch"], []
    lines.append(f"natten_mps  {found['natten_mps']}, Python {found['python']}, {found['system']}")
    lines.append(f"torch       {_torch_line(torch)}")
    lines.append(f"library     {library['path']}")
    lines.append(f"            {_library_line(library)}")
    lines += _block("environment", found["environment"])
    lines.append("backends")
    for b in found["backends"]:
        mark = "yes" if b["available"] else "no "
        details = b["details"]
        if not library["loaded"] and not b["available"]:
            details = "in the library, which does not load"
        lines.append(f"  {b['name']:<10} {mark}  {details}")
    lines.append(f"  in use: {found['chosen']}")
    lines += _mps_lines(found["mps"])
    lines += _block("self-check", found["self_check"])
    lines += (
        ["problems", *(f"  {p}" for p in found["problems"])]
        if found["problems"]
        else ["no problems"]
    )
    return "\n".join(lines)


def _torch_line(torch: dict[str, Any]) -> str:
    if "version" not in torch:
        return str(torch["reason"])
    if torch["mps_available"]:
        mps = "MPS available"
    else:
        mps = "MPS built in, no device" if torch["mps_built"] else "built without MPS"
    return f"{torch['version']}, {mps}, {torch['threads']} threads"


def _library_line(library: dict[str, Any]) -> str:
    if not library["loaded"]:
        return f"does not load: {library['reason']}"
    low, high = library["abi"]
    return (
        f"{library['version']}, takes interface {low} to {high} (the package has "
        f"{library['abi_of_package']}), {library['threads']} threads"
    )


def _block(title: str, values: dict[str, str]) -> list[str]:
    return [title, *(f"  {name}: {value}" for name, value in values.items())] if values else []


def _mps_lines(mps: dict[str, Any]) -> list[str]:
    refused = mps["refused"]
    if mps["tier"] is None:
        return [f"MPS tensors  cannot be computed here: {_reasons(refused)}"]
    lines = [f"MPS tensors  tier {mps['tier']}: {mps['meaning']}"]
    lines += [f"  not tier {tier}: {reason}" for tier, reason in refused.items()]
    first, last = mps["examined_torch"]
    lines.append(f"  examined with torch {first} to {last}; self-tests kept in {mps['verdicts']}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status is 1 if something that should work does not."""
    parser = argparse.ArgumentParser(
        prog="python -m natten_mps.doctor",
        description="Print what natten_mps found on this machine: the compiled library and its "
        "versions, each backend or the reason why it cannot run, the way in which MPS tensors are "
        "computed (the tier) and why not a better one, and a self-check of each backend. The "
        "status is 1 if there is a problem: the library does not load, the chosen backend cannot "
        "run, MPS tensors cannot be computed where PyTorch has them, or a self-check fails.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="try everything on this machine's GPU, for ten minutes at most, and write what came "
        "of it to FILE (JSON) and FILE.txt: each kernel compiled, problems with their gradients "
        "compared with the reference in each tier, the order with torch's own work, times. FILE "
        "has no names of people, machines or folders. The same command goes on with a report that "
        "was interrupted. The status is 1 if something failed",
    )
    parser.add_argument("--seconds", type=float, help="time of --report (default and most: 470)")
    options = parser.parse_args(arguments)
    if options.report is not None:
        from ._report import supervisor

        seconds = supervisor.SECONDS if options.seconds is None else options.seconds
        return supervisor.run(options.report, min(seconds, supervisor.SECONDS))
    found = report()
    print(json.dumps(found, indent=2) if options.json else text(found))
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
