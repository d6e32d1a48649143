# SPDX-License-Identifier: MIT
"""Hooks of MkDocs: the comments of natten_mps.h where header.md has its marker, and pictures that
README.md shows too."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
HEADER = ROOT / "include" / "natten_mps.h"
MARKER = "<!-- reference -->"
NAME = re.compile(r"\b(?:natten_mps|NATTEN_MPS)_\w+")
LONGEST = 88


def on_files(files: Any, config: Any) -> Any:
    """Copy the pictures that tests and benchmarks draw next to the pages."""
    drawn = sorted((ROOT / "tests" / "demo").glob("*.png"))
    for picture in [*drawn, ROOT / "tests/bench/speed.png", ROOT / "tests/metalsim/roofline.png"]:
        files.append(File.generated(config, picture.name, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the reference in the marker's place."""
    return (
        markdown.replace(MARKER, reference(HEADER.read_text())) if MARKER in markdown else markdown
    )


def reference(header: str) -> str:
    """Return the header's comments and declarations as Markdown."""
    blocks = [block for block in header.split("\n\n") if is_documented(block)]
    anchors = {name: names_of(block)[0] for block in blocks for name in declared(block)}
    missing = set(re.findall(r"\bnatten_mps_\w+(?=\()", header)) - anchors.keys()
    if missing:
        raise ValueError(f"natten_mps.h declares what the reference does not show: {missing}")
    parts = [overview(header, anchors), "## Version of the interface"]
    for block in blocks:
        section = re.match(r"/\* -+ (.+) -- \*/", block)
        parts.append(f"## {section[1].capitalize()}" if section else entry(block, anchors))
    return "\n\n".join(parts)


def is_documented(block: str) -> bool:
    """Say whether a block is a section's title or a declaration with its comment."""
    return block.startswith(("/* ---", "/** ", "NATTEN_MPS_API", "#define NATTEN_MPS_MAX"))


def overview(header: str, anchors: dict[str, str]) -> str:
    """Render the comment at the top: titles in capitals, and terms in capitals that open a line."""
    comment = header[header.index("/*") : header.index("*/")]
    lines = [line.removeprefix(" *").strip() for line in comment.splitlines()[1:]]
    text = re.sub(r"^([A-Z]{3,}) {2,}", r"\n\1: ", "\n".join(lines), flags=re.MULTILINE)
    parts = []
    for paragraph in re.split(r"\n{2,}", text.strip()):
        term = re.match(r"([A-Z]{3,}): ", paragraph)
        if re.fullmatch(r"[A-Z ]+", paragraph):
            parts.append(f"## {paragraph.capitalize()}")
        elif term:
            name = "NaN" if term[1] == "NAN" else term[1].capitalize()
            parts.append(f"**{name}.** {prose(paragraph[term.end() :], anchors)}")
        else:
            parts.append(prose(paragraph, anchors))
    return "\n\n".join(parts)


def code_of(block: str) -> str:
    """Return the declaration below a block's comment, without the header's macros."""
    code = re.sub(r"\A/\*\*.*?\*/\s*", "", block, flags=re.DOTALL)
    code = code.replace("NATTEN_MPS_CONST", "const")
    if not code.startswith("NATTEN_MPS_API"):
        return code
    functions = []
    for function in code.split("NATTEN_MPS_API ")[1:]:
        line = " ".join(function.split())
        if len(line) > LONGEST:
            line = line.replace("(", "(\n    ").replace(", ", ",\n    ")
        functions.append(line)
    return "\n".join(functions)


def names_of(block: str) -> list[str]:
    """Return the names that a block declares, without enumerators of a named type."""
    code = code_of(block)
    if code.startswith("typedef"):
        return [re.findall(r"(\w+);", code)[-1]]
    found = re.finditer(r"^#define (\w+)|^ +(\w+) = |(natten_mps_\w+)\(", code, re.MULTILINE)
    return [match[match.lastindex or 0] for match in found]


def declared(block: str) -> list[str]:
    """Return every name that links to a block."""
    if block.startswith("/* ---"):
        return []
    return names_of(block) + re.findall(r"^ +(NATTEN_MPS_\w+) = ", code_of(block), re.MULTILINE)


def entry(block: str, anchors: dict[str, str]) -> str:
    """Render one declaration: its names, its comment, its code."""
    names = names_of(block)
    title = ", ".join(f"`{name}`" for name in names)
    parts = [f"### {title} {{#{names[0]}}}"]
    comment = re.match(r"/\*\* (.*?)\s*\*/", block, re.DOTALL)
    if comment:
        first, *rest = comment[1].splitlines()
        indent = min((len(t) - len(t.lstrip()) for t in bodies(rest) if t), default=0)
        parts.extend(paragraphs([first, *(text[indent:] for text in bodies(rest))], anchors))
    return "\n\n".join([*parts, f"```{{.c .no-copy}}\n{code_of(block)}\n```"])


def bodies(lines: list[str]) -> list[str]:
    """Return lines of a comment without the asterisk that opens each."""
    return [line.removeprefix(" *").rstrip() for line in lines]


def paragraphs(lines: list[str], anchors: dict[str, str]) -> list[str]:
    """Render a comment: lines indented by two are kept as they are (one may be a formatter's)."""
    parts: list[tuple[str, list[str]]] = []
    for line in lines:
        kind = "kept" if line.startswith("  ") else "prose"
        if not line:
            parts.append(("prose", []))
        elif parts and parts[-1][0] == kind:
            parts[-1][1].append(line)
        else:
            parts.append((kind, [line]))
    return [render(kind, text, anchors) for kind, text in parts if text]


def render(kind: str, lines: list[str], anchors: dict[str, str]) -> str:
    """Render lines of one kind."""
    if kind == "kept":
        return "```text\n" + "\n".join(lines) + "\n```"
    return prose("\n".join(lines), anchors)


def prose(text: str, anchors: dict[str, str]) -> str:
    """Escape Markdown's characters, and set names as code that links to their declaration."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece[:1] == "`" else escaped(piece, anchors) for piece in pieces)


def escaped(text: str, anchors: dict[str, str]) -> str:
    """Escape text outside backticks."""
    parts, end = [], 0
    for match in NAME.finditer(text):
        name = match[0]
        link = f"[`{name}`](#{anchors[name]})" if name in anchors else f"`{name}`"
        parts += [backslashed(text[end : match.start()]), link]
        end = match.end()
    return "".join([*parts, backslashed(text[end:])])


def backslashed(text: str) -> str:
    """Put a backslash before the characters that Markdown would take, and spell `<` for HTML."""
    return re.sub(r"([\\*_\[\]])", r"\\\1", text).replace("<", "&lt;")
