# SPDX-License-Identifier: MIT
"""Writes measured figures into a document, between a pair of comments of a name."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PERFORMANCE = ROOT / "python" / "docs" / "performance.md"


def fill(name: str, text: str, document: Path = README) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    old = document.read_text()
    if not pattern.search(old):
        raise SystemExit(f"{document.name} has no <!-- {name} --> ... <!-- /{name} -->")
    document.write_text(pattern.sub(lambda m: m.group(1) + text.rstrip() + "\n" + m.group(2), old))
    print(f"{document.name}: {name} written")
