# SPDX-License-Identifier: MIT
"""Writes measured figures into README.md, between a pair of comments of a name."""

import re
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def fill(name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    old = README.read_text()
    if not pattern.search(old):
        raise SystemExit(f"README.md has no <!-- {name} --> ... <!-- /{name} -->")
    README.write_text(pattern.sub(lambda m: m.group(1) + text.rstrip() + "\n" + m.group(2), old))
    print(f"README.md: {name} written")
