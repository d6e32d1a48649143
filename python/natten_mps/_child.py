# SPDX-License-Identifier: MIT
"""Child processes that run one of this package's modules.

They import exactly what this process imports: a folder in which the user happens to work, or the
order of a path that was built up at run time, must not decide whether the GPU is used.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_ROOT = str(Path(__file__).parents[1])
#: Replaces the import path before anything is imported: `-m` would put the working folder first.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv.pop(1).split('\\n'); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)
#: Variables that change how Python starts or ends, and that are meant for the user's program.
_NOT_FOR_CHILDREN = ("PYTHONINSPECT", "PYTHONWARNINGS")


def has_python() -> bool:
    """Whether sys.executable is a Python, and not a program in which Python is embedded."""
    name = os.path.basename(sys.executable or "").lower()
    return "python" in name or "pypy" in name


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module as `python -m` does, with this process's import path."""
    path = [entry or os.getcwd() for entry in sys.path]
    if _ROOT not in path:
        path.append(_ROOT)
    return [sys.executable, "-c", _PROGRAM, "\n".join(path), module, *arguments]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of such a command."""
    return {k: v for k, v in variables.items() if k not in _NOT_FOR_CHILDREN}
