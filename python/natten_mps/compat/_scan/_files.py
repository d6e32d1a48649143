# SPDX-License-Identifier: MIT
"""A project's Python files and notebooks, and its requirements on the NATTEN version."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

# Folders with third-party code.
_FOREIGN = {"site-packages", "node_modules", "__pycache__", "venv", "env", "build", "dist"}
_LISTS = re.compile(
    r"(requirements.*\.(txt|in)|pyproject\.toml|setup\.(py|cfg)|.*\.ya?ml|.*\.lock)$"
)
_PIN = re.compile(r"\bnatten\s*(\[[^\]]*\])?\s*((?:[=<>~!]=?=?\s*[\w.*+]+[,\s]*)+)", re.IGNORECASE)
# IPython commands in notebooks, which are not Python.
_MAGIC = re.compile(r"^\s*[%!].*$", re.MULTILINE)


def _walk(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in _FOREIGN and not f.startswith("."))
        yield from (Path(place) / file for file in sorted(files))


def _notebook(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8", errors="replace")).get("cells", [])
    code = ("".join(c.get("source", "")) for c in cells if c.get("cell_type") == "code")
    return "\n".join(_MAGIC.sub("pass", cell) for cell in code)


def sources(folder: Path) -> Iterator[tuple[Path, str]]:
    """Python files with their text, and notebooks with the text of their code cells."""
    for path in _walk(folder):
        if path.suffix == ".py":
            yield path, path.read_text(encoding="utf-8", errors="replace").lstrip("\ufeff")
        elif path.suffix == ".ipynb":
            try:
                yield path, _notebook(path)
            except (ValueError, AttributeError, TypeError):
                continue


def pins(folder: Path) -> dict[str, SpecifierSet]:
    """NATTEN versions allowed by a project's requirements, by "file: text"."""
    found = {}
    for path in _walk(folder):
        if not _LISTS.match(path.name) or path.stat().st_size > 2**21:
            continue
        for match in _PIN.finditer(path.read_text(encoding="utf-8", errors="replace")):
            asked = re.sub(r"\s+", "", match[2]).rstrip(",")
            # conda uses a single "=" between name and version.
            asked = re.sub(r"^=(?!=)", "==", asked)
            # "+torch200cu118" denotes a build for one CUDA version, not another release.
            asked = re.sub(r"\+[\w.]+", "", asked)
            try:
                found[f"{path.relative_to(folder)}: natten{asked}"] = SpecifierSet(asked)
            except InvalidSpecifier:
                continue
    return found
