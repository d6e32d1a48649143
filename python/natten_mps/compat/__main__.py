# SPDX-License-Identifier: MIT
"""Runs a program with a version of ``natten`` active, or activates a version permanently."""

import os
import runpy
import shutil
import sys
from pathlib import Path
from types import ModuleType

from . import activate
from ._link import installed, link, unlink

_USAGE = """\
usage: python -m natten_mps.compat VERSION SCRIPT [ARG ...]
       python -m natten_mps.compat VERSION -m MODULE [ARG ...]
       python -m natten_mps.compat VERSION -c CODE [ARG ...]
       python -m natten_mps.compat VERSION COMMAND [ARG ...]
       python -m natten_mps.compat link VERSION
       python -m natten_mps.compat unlink
       python -m natten_mps.compat scan FOLDER

Runs SCRIPT (- for the standard input), MODULE, CODE or a COMMAND such as torchrun, and the
Python processes that it starts, with `import natten` served as that VERSION of NATTEN, such as
0.14.6; or makes VERSION permanent for this Python environment (link), or undoes it (unlink); or
reads a project and says which VERSION it was written for and whether all that it uses is served
(scan; the exit status is 1 if not)."""


def _run(version: str, arguments: list[str]) -> None:
    """Runs a program as `python ARGUMENTS` would, or a command found on PATH."""
    activate(version)
    first, *rest = arguments
    if first == "-m":
        sys.argv = rest
        sys.path[0] = os.getcwd()
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first in ("-c", "-"):
        sys.argv = [first, *rest[first == "-c" :]]
        sys.path[0] = ""
        code = rest[0] if first == "-c" else sys.stdin.read()
        _execute(code, "<string>" if first == "-c" else "<stdin>")
    elif os.path.exists(first):
        sys.argv = arguments
        sys.path[0] = os.path.dirname(os.path.abspath(first))
        runpy.run_path(first, run_name="__main__")
    else:
        _replace(first, arguments)


def _execute(code: str, name: str) -> None:
    """Runs code in a ``__main__`` module, so that its classes and functions can be pickled."""
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(code, name, "exec"), vars(main))


def _replace(command: str, arguments: list[str]) -> None:
    """Replaces this process with a command, which gets the version through the environment."""
    beside = os.path.dirname(sys.executable)
    path = shutil.which(command) or shutil.which(command, path=beside)
    if path is None:
        sys.exit(f"{command} is neither a file nor a command on PATH; give a script, -m or -c")
    sys.stdout.flush()
    os.execv(path, arguments)


def _scan(folder: Path) -> int:
    from ._scan import scan

    if not folder.exists():
        print(f"{folder} does not exist; give a project's folder or a file", file=sys.stderr)
        return 2
    report, status = scan(folder)
    print(report)
    return status


def main(arguments: list[str]) -> int:
    """Runs one command line; returns the exit status."""
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
        case ["link" | "unlink" | "scan", *_] | [_, "-m" | "-c"] | [_] | []:
            print(_USAGE, file=sys.stderr)
            return 2
        case [version, *program]:
            _run(version, program)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
