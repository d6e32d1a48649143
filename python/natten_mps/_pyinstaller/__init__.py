# SPDX-License-Identifier: MIT
"""PyInstaller support; PyInstaller finds this folder through an entry point of the package."""

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """The folders in which PyInstaller finds hooks."""
    return [str(Path(__file__).parent)]
