# SPDX-License-Identifier: MIT
"""A hook of MkDocs: every link of the built site leads somewhere, notebooks' links included, which
MkDocs does not follow; the search knows what users look for; and no markup is shown raw.
"""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

SEARCHED = ("kernel_size", "GNA", "uv", "MPS")


class Page(HTMLParser):
    """The links of a page and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what leads somewhere, and what can be led to."""
        for name, value in attrs:
            if value and name in ("href", "src") and tag != "link":
                self.links.add(value)
            if value and (name == "id" or (name == "name" and tag == "a")):
                self.anchors.add(value)


def broken(site: Path) -> list[str]:
    """Return "page: link" for each link within the site that leads nowhere."""
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            missing = not target.exists()
            if not missing and parts.fragment and target in pages:
                missing = unquote(parts.fragment) not in pages[target].anchors | {"__top"}
            if missing:
                found.append(f"{path.relative_to(site.resolve())}: {link}")
    return sorted(found)


def unfindable(site: Path) -> list[str]:
    """Return the words that the search index lacks."""
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    text = "\n".join(entry["title"] + "\n" + entry["text"] for entry in index["docs"])
    return [word for word in SEARCHED if word not in text]


def raw(site: Path) -> list[str]:
    """Return the pages where the >>> of an example was taken for quotations."""
    quoted = re.compile(r"<blockquote>\s*<blockquote>")
    pages = sorted(site.rglob("*.html"))
    return [page.name for page in pages if quoted.search(page.read_text(encoding="utf-8"))]


def on_post_build(config: Any) -> None:
    """Fail the build if a link is broken, a word is not found, or markup is shown raw."""
    site = Path(config["site_dir"])
    faults = broken(site) + [f"search: nothing on {word}" for word in unfindable(site)]
    faults += [f"{page}: an example is shown as a quotation" for page in raw(site)]
    if faults:
        raise SystemExit("faults of the site:\n" + "\n".join(faults))
