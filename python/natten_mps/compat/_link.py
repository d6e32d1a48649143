# SPDX-License-Identifier: MIT
"""Activation that lasts: a ``.pth`` file in the environment's site-packages."""

import sysconfig
from pathlib import Path

from . import generation

_FILE = "natten_mps_compat.pth"

# `site` runs each .pth line that begins with "import" when the interpreter starts. The
# line stays silent once natten-mps has been uninstalled.
_LINE = (
    'import importlib.util as u; u.find_spec("natten_mps") and '
    '__import__("natten_mps.compat", fromlist=["activate"]).activate("{version}")\n'
)


def _path() -> Path:
    return Path(sysconfig.get_path("purelib")) / _FILE


def link(version: str) -> Path:
    """Makes every interpreter of this environment start with that version active."""
    generation(version)
    path = _path()
    path.write_text(_LINE.format(version=version), encoding="utf-8")
    return path


def unlink() -> Path | None:
    """Undoes :func:`link`; returns the file it removed, or None if there was none."""
    path = _path()
    if not path.exists():
        return None
    path.unlink()
    return path
