# SPDX-License-Identifier: MIT
"""The table of every public name of NATTEN and of natten-mps 0.3.3, for the documentation.

Names of NATTEN come from natten_mps/compat/released.json, those of 0.3.3 from
tests/golden/natten-mps-0.3.3.json; whether a name is served, and why not, from the package.
"""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from natten_mps.compat import _places, _served

PREDECESSOR = Path(__file__).parents[1] / "tests" / "golden" / "natten-mps-0.3.3.json"

MARKER = "<!-- names -->"

WORKS, BETTER, DIFFERS, REFUSED = "works", "works better", "differs", "refused"
_GPU = "on CPUs and Apple GPUs, forward and backward"
_FLAG = "see [capability flags](moving.md#what-the-capability-flags-say)"

# (generation or "", pattern of "module name", verdict, note); the first that matches counts.
NOTES = (
    ("v020|v021", r"\S+ (na[123]d|attention|NeighborhoodAttention[123]D)", BETTER,
     f"{_GPU}; upstream on CPUs: forward only"),
    ("v017", r"\S+ (na[123]d|NeighborhoodAttention[123]D)", BETTER,
     f"{_GPU}; upstream has fused attention only with CUDA"),
    ("v015|v017", r"\S+ (na[123]d_(qk|av)|na[123]d_qk_with_bias|natten[123]d(qk|qkrpb|av)|"
     r"NeighborhoodAttention[123]D)", BETTER,
     f"{_GPU}; 16-bit types and even kernels also on CPUs"),
    ("v014", r"\S+ (natten[12]d(qkrpb|av)|NeighborhoodAttention\w*)", BETTER,
     f"{_GPU}; 16-bit types also on CPUs"),
    ("v01.", r"natten\.functional Neighborhood\w+", BETTER, f"autograd function, {_GPU}"),
    ("", r"\S+ merge_attentions", BETTER, "gradients for any number of outputs"),
    ("", r"\S+ (has_\w+|HAS_LIBNATTEN|get_device_cc)", DIFFERS, _FLAG),
    ("", r"\S+ skip_if_\w+", DIFFERS, _FLAG),
    ("", r"\S+ (get_(bwd_)?configs_for_\w+|can_run_\w+)", DIFFERS,
     "returns that there is no CUDA configuration"),
    ("", r"\S+ \w*(tf32|gemm|tiled)\w*", DIFFERS,
     "stores the value; upstream it chooses among CUDA kernels, here it has no effect"),
    ("", r"\S+ \w*(autotun|flex_compile|flex_attention|kv_parallelism|memory_usage)\w*", DIFFERS,
     "stores the value; here it has no effect"),
)  # fmt: skip

_OWN_NOTES = (
    (r"natten_mps\.compat\.v0\w+ (Neigh|na[123]d|has_fna)\w*", DIFFERS,
     "also NATTEN's meaning, see [natten-mps 0.3](moving.md#from-natten-mps-03)"),
    (r"\S+ (na[123]d|na[123]d_varlen|na[123]d_(qk|av))", BETTER,
     "compiled on CPUs; even kernels, other dtypes, grouped-query heads everywhere"),
    (r"natten_mps(\.nn\S*)? NeighborhoodAttention[123]D", BETTER,
     "compiled on CPUs; dropout honors stride, causality and scale"),
    (r"\S+ merge_attentions", BETTER, "gradients for any number of outputs"),
    (r"\S+ get_support_matrix", DIFFERS, "describes this package's backends"),
    (r"\S+ metal_\w+", DIFFERS, "returns None, as 0.3.3 does where it has no kernel"),
)  # fmt: skip


class Row(NamedTuple):
    """A public name and its verdict."""

    module: str
    name: str
    verdict: str
    note: str


def generations() -> list[tuple[str, str]]:
    """(generation, its newest release) of every one, oldest first."""
    newest = {_places.generation(v): str(v) for v in _served.versions()}
    return list(newest.items())


def natten(generation: str) -> Iterator[Row]:
    """Every public name of the newest release of a generation."""
    release = _served.literal(generation)
    for module in sorted(_served._recorded()["modules"]):
        if not release.has(module) or "._" in module:
            continue
        for name in sorted(n for n in release.names(module) if not n.startswith("_")):
            yield Row(module, name, *_verdict(release, module, name))


def _verdict(release: _served.Release, module: str, name: str) -> tuple[str, str]:
    why = _places.reason(module, "") or release.why(module, name)
    if why:
        return REFUSED, why
    release.find(module, name)  # or LookupError: a name without a verdict
    for generation, pattern, verdict, note in NOTES:
        if re.fullmatch(generation or ".*", release.generation) and re.fullmatch(
            pattern, f"{module} {name}"
        ):
            return verdict, note
    return WORKS, ""


def predecessor() -> Iterator[Row]:
    """Every public name of natten-mps 0.3.3; AttributeError for one that is missing here."""
    for module, names in json.loads(PREDECESSOR.read_text(encoding="utf-8")).items():
        here = importlib.import_module(module)
        for name in (n for n in names if n != "*"):
            getattr(here, name)
            found = (n for n in _OWN_NOTES if re.fullmatch(n[0], f"{module} {name}"))
            _, verdict, note = next(found, ("", WORKS, ""))
            yield Row(module, name, verdict, note)


def _table(rows: list[Row]) -> str:
    """A table in which names of a module with one verdict share a row."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        grouped.setdefault((row.module, row.verdict, row.note), []).append(f"`{row.name}`")
    lines = ["| module | names | verdict | notes |", "| --- | --- | --- | --- |"]
    for (module, verdict, note), names in grouped.items():
        lines.append(f"| `{module}` | {', '.join(names)} | {verdict} | {note} |")
    return "\n".join(lines)


def _summary(rows: list[Row]) -> str:
    counts = [
        f"{v}: {sum(r.verdict == v for r in rows)}" for v in (WORKS, BETTER, DIFFERS, REFUSED)
    ]
    return f"{len(rows)} public names; {', '.join(counts)}."


def page() -> str:
    """The body of moving-names.md."""
    parts = []
    for generation, version in generations():
        rows = list(natten(generation))
        title = f"## NATTEN 0.{int(generation.removeprefix('v0'))}"
        parts += [title, f"Release {version}: {_summary(rows)}", _table(rows)]
    rows = list(predecessor())
    parts += ["## natten-mps 0.3.3", _summary(rows), _table(rows)]
    return "\n\n".join(parts)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables in the marker's place: a hook of MkDocs."""
    return markdown.replace(MARKER, page()) if MARKER in markdown else markdown
