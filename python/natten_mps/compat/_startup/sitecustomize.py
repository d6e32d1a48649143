# SPDX-License-Identifier: MIT
"""Run by `site` when an interpreter starts with this folder on PYTHONPATH: a child of a process
in which a version of natten is active. It activates the version there and hands over to the
sitecustomize that this one stands before.

Interpreters of other environments and versions run it too, so it is silent where natten-mps
cannot be imported, and written in old Python."""

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
