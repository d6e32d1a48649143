# SPDX-License-Identifier: MIT
"""For PyInstaller, which finds this folder by an entry point of the package."""

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Where PyInstaller finds hooks."""
    return [str(Path(__file__).parent)]
