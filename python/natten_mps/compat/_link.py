# SPDX-License-Identifier: MIT
"""Permanent activation: files that are written to an environment's site-packages.

A ``.pth`` file activates the version when an interpreter starts. A ``.dist-info`` folder shows
tools that read the disk, such as pip, uv, poetry, conda and pkg_resources, that ``natten`` is
installed; ``pip uninstall natten`` removes both.
"""

import shutil
import sysconfig
from pathlib import Path

from ._metadata import INSTALLER, files
from ._places import NAME, generation

_FILE = "natten_mps_compat.pth"

# `site` runs each .pth line that begins with "import" when the interpreter starts. The line does
# nothing once natten-mps has been uninstalled.
_LINE = (
    'import importlib.util as u; u.find_spec("natten_mps") and '
    '__import__("natten_mps.compat._activation", fromlist=["x"]).activate_by_default("{version}")\n'
)


def _site_packages() -> Path:
    return Path(sysconfig.get_path("purelib"))


def installed() -> list[Path]:
    """``.dist-info`` folders of another ``natten``, as tools that read the disk see them."""
    return [path for path in _descriptions() if not _is_ours(path)]


def _descriptions() -> list[Path]:
    return sorted(_site_packages().glob(f"{NAME}-*.dist-info"))


def _is_ours(description: Path) -> bool:
    installer = description / "INSTALLER"
    return installer.exists() and installer.read_text(encoding="utf-8").strip() == INSTALLER


def _describe(version: str) -> None:
    folder = _site_packages() / f"{NAME}-{version.replace('-', '_')}.dist-info"
    folder.mkdir()
    contents = files(version)
    owned = [_FILE, *(f"{folder.name}/{name}" for name in (*contents, "RECORD"))]
    contents["RECORD"] = "".join(f"{name},,\n" for name in owned)
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")


def link(version: str) -> Path:
    """Makes every interpreter of this environment start with that version active.

    Returns the path of the ``.pth`` file. An installed ``natten`` is shadowed and keeps its
    metadata on disk (see :func:`installed`).
    """
    generation(version)
    unlink()
    path = _site_packages() / _FILE
    path.write_text(_LINE.format(version=version), encoding="utf-8")
    if not installed():
        _describe(version)
    return path


def unlink() -> Path | None:
    """Undoes :func:`link`; returns the path of the removed file, or None if there was none."""
    for description in filter(_is_ours, _descriptions()):
        shutil.rmtree(description)
    path = _site_packages() / _FILE
    if not path.exists():
        return None
    path.unlink()
    return path
