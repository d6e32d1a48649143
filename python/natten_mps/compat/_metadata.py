# SPDX-License-Identifier: MIT
"""Metadata of the distribution ``natten`` while natten-mps stands in for it."""

from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from os import PathLike
from pathlib import Path
from typing import Any

from ._places import NAME

#: The folder that contains natten_mps.
ROOT = Path(__file__).parents[2]
_SERVED = "natten_mps/compat/__init__.py,,\n"

#: Installer of the stand-in, which distinguishes it from a real ``natten``.
INSTALLER = "natten-mps"


def files(version: str) -> dict[str, str]:
    """Contents of the stand-in's ``.dist-info`` folder by file name."""
    return {
        "METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n"
        "Summary: served by natten-mps\n",
        "top_level.txt": f"{NAME}\n",
        "INSTALLER": f"{INSTALLER}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: natten-mps\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }


class Metadata(Distribution):
    """The stand-in distribution as ``importlib.metadata`` sees it."""

    def __init__(self, version: str) -> None:
        self._files = files(version) | {"RECORD": _SERVED}

    def read_text(self, filename: str | PathLike[str]) -> str | None:
        """A file of the ``.dist-info`` folder; None if there is none with that name."""
        return self._files.get(str(filename))

    def locate_file(self, path: str | PathLike[str]) -> Any:
        """The path of an entry of :attr:`files`, which lists files of this package."""
        return ROOT / path


def on_disk(version: str) -> bool:
    """Whether the module search path has metadata of that version of ``natten``."""
    search = DistributionFinder.Context(name=NAME)
    return any(d.version == version for d in MetadataPathFinder.find_distributions(search))
