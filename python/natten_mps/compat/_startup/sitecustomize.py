# SPDX-License-Identifier: MIT
"""`site` runs this file at interpreter startup if its folder is on PYTHONPATH, which is the case in
children of a process with an active version of natten. It activates the version and then runs the
sitecustomize module that it shadows.

Interpreters of other environments and versions run it too, so it does nothing if natten-mps cannot
be imported, and it is written for old versions of Python."""

import importlib.util
import os
import sys
from importlib.machinery import PathFinder


def _activate():  # type: () -> None
    version = os.environ.get("NATTEN_MPS_COMPAT")
    if not version or importlib.util.find_spec("natten_mps") is None:
        return
    try:
        from natten_mps.compat._activation import activate_by_default

        activate_by_default(version)
    except Exception as error:
        sys.stderr.write(f"NATTEN_MPS_COMPAT={version!r} is without effect: {error}\n")


def _hand_over():  # type: () -> None
    here = os.path.dirname(os.path.abspath(__file__))
    others = [path for path in sys.path if os.path.abspath(path) != here]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_activate()
_hand_over()
