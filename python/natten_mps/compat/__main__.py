# SPDX-License-Identifier: MIT
"""Runs a program with a generation of ``natten`` active, or makes one permanent."""

import os
import runpy
import sys
from pathlib import Path

from . import activate
from ._link import installed, link, unlink

_USAGE = """\
usage: python -m natten_mps.compat VERSION SCRIPT [ARG ...]
       python -m natten_mps.compat VERSION -m MODULE [ARG ...]
       python -m natten_mps.compat link VERSION
       python -m natten_mps.compat unlink
       python -m natten_mps.compat scan FOLDER

Runs SCRIPT or MODULE, and the Python processes that it starts, with `import natten` served
as that VERSION of NATTEN, such as 0.14.6; or makes VERSION permanent for this Python
environment (link), or undoes it (unlink); or reads a project and says which VERSION it was
written for and whether all that it uses is served (scan; the exit status is 1 if not)."""


def _run(version: str, arguments: list[str]) -> None:
    activate(version)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = os.getcwd()
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


def _scan(folder: Path) -> int:
    from ._scan import scan

    if not folder.exists():
        print(f"{folder} does not exist; give a project's folder or a file", file=sys.stderr)
        return 2
    report, status = scan(folder)
    print(report)
    return status


def main(arguments: list[str]) -> int:
    """Serves one command line; returns the exit status."""
    match arguments:
        case ["-h" | "--help"]:
            print(_USAGE)
        case ["link", version]:
            print(f"natten {version} is served in this environment: {link(version)}")
            for description in installed():
                print(f"{description.name} stays, and is what pip and uv go on seeing")
        case ["unlink"]:
            removed = unlink()
            print("nothing was linked" if removed is None else f"removed {removed}")
        case ["scan", folder]:
            return _scan(Path(folder))
        case ["link" | "unlink" | "scan", *_] | [_, "-m"] | [_] | []:
            print(_USAGE, file=sys.stderr)
            return 2
        case [version, *program]:
            _run(version, program)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
