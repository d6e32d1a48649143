# SPDX-License-Identifier: MIT
"""What README.md and the documentation say about files, figures, names and variables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "python" / "docs"
README = ROOT / "README.md"
MUTATE = ROOT / "tests" / "mutate"
AREAS = ("metal", "python", "core")
LINK = re.compile(r"\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"\b(?:NATTEN_[A-Z0-9_]+|METALSIM_[A-Z0-9_]+)\b")
READ = re.compile(
    r"""(?:environ(?:\.get|\.pop|\.setdefault)?[(\[]|[gG]etenv\(|parse_env_\w+\(|LookupEnv\()\s*"(\w+)"
    |^\s*\w*\s*(?:[A-Z_]+|[A-Za-z]+Variable|[A-Za-z]+Env|exportDir)\s*=\s*"((?:NATTEN|METALSIM)_[A-Z0-9_]+)"$""",
    re.VERBOSE | re.MULTILINE,
)


def targets(document):
    return LINK.findall(re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "RATIONALE.md", "CHANGELOG.md"])
def test_links_of_the_root_lead_to_files(name):
    document = ROOT / name
    for target in targets(document):
        if "://" not in target and not target.startswith("#"):
            assert (ROOT / target.split("#")[0]).exists(), f"{name} links to {target}"


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


def figure(text):
    """A cell as a number, or as it is."""
    try:
        return float(text.strip("*"))
    except ValueError:
        return text


def test_readme_has_the_figures_of_the_long_table():
    """The six rows are those of tests/bench/speed.md: native, 0.3.3, flex_attention, ratio."""
    rows = {}
    for line in (ROOT / "tests" / "bench" / "speed.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) > 10:
            rows.setdefault(tuple(figure(cells[i]) for i in (2, 7, 6, 9)), cells[0])
    start = README.read_text().index("<!-- speed -->")
    end = README.read_text().index("<!-- /speed -->")
    shown = [
        tuple(figure(cell.strip()) for cell in line.strip("|").split("|"))[1:]
        for line in README.read_text()[start:end].splitlines()
        if line.startswith("| ") and "---" not in line and "problem" not in line
    ]
    assert len(shown) == 6
    assert all(row in rows for row in shown), f"{shown} are not all rows of speed.md"


def read_variables():
    """Names of environment variables that the tree reads."""
    listed = subprocess.check_output(
        ["git", "ls-files", "*.py", "*.go", "*.c", "*.cpp", "*.h"], cwd=ROOT, text=True
    )
    found = {}
    for name in listed.split():
        text = (ROOT / name).read_text(encoding="utf-8", errors="replace")
        for variable in (match[1] or match[2] for match in READ.finditer(text)):
            # Tests also set their own variables for their children.
            if not name.startswith("tests/") or VARIABLE.fullmatch(variable):
                found.setdefault(variable, name)
    return found


def test_every_environment_variable_is_on_its_page():
    page = (DOCS / "environment.md").read_text()
    read = read_variables()
    assert {"NATTEN_BACKEND", "NATTEN_MPS_VERIFY", "METALSIM_MODE"} <= read.keys()
    missing = {n: f for n, f in read.items() if f"`{n}`" not in page}
    assert not missing, "variables that environment.md lacks"
    code = subprocess.check_output(
        ["git", "grep", "-h", "-o", "-E", "(NATTEN|METALSIM)_[A-Z0-9_]+", "--", ":!python/docs"],
        cwd=ROOT,
        text=True,
    ).split()
    unknown = set(VARIABLE.findall(page)) - set(code)
    assert not unknown, "variables that nothing reads"


@pytest.fixture(scope="module")
def names():
    sys.path.insert(0, str(ROOT / "python"))
    try:
        import moving_names
    finally:
        sys.path.pop(0)
    return moving_names


def test_every_public_name_has_a_verdict(names):
    verdicts = {names.WORKS, names.BETTER, names.DIFFERS, names.REFUSED}
    counts = {}
    notes = set()
    for generation, _ in names.generations():
        rows = list(names.natten(generation))
        counts[generation] = len(rows)
        notes |= {row.note for row in rows}
        assert all(row.verdict in verdicts for row in rows)
        assert all(row.note for row in rows if row.verdict in (names.REFUSED, names.DIFFERS))
    rows = list(names.predecessor())
    notes |= {row.note for row in rows}
    assert {row.verdict for row in rows} <= verdicts
    assert len(rows) == 145
    assert counts == {"v014": 24, "v015": 117, "v017": 413, "v020": 708, "v021": 845}
    unused = [n[-1] for n in (*names.NOTES, *names._OWN_NOTES) if n[-1] not in notes]
    assert not unused, "notes that no name has"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((DOCS / "tutorials").glob("*.py")), ids=lambda p: p.stem)
def test_tutorial_runs_as_a_notebook(path, tmp_path):
    jupytext = pytest.importorskip("jupytext", reason="needs jupytext (pip: docs)")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient (pip: docs)")
    notebook = jupytext.read(path)
    kernel = {"resources": {"metadata": {"path": str(tmp_path)}}, "timeout": 500}
    nbclient.NotebookClient(notebook, kernel_name="python3", **kernel).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code)
    assert os.listdir(tmp_path) == []


def test_numbers_of_mutations_are_those_of_the_files():
    counts = {area: len(json.loads((MUTATE / f"{area}.json").read_text())) for area in AREAS}
    promise = re.findall(r"more than (\d+) in the", (DOCS / "promise.md").read_text())
    assert len(promise) == len(AREAS)
    for area, least in zip(AREAS, map(int, promise), strict=True):
        assert least <= counts[area] < least + 100, f"{area}: {counts[area]}"
    (total,) = re.findall(r"more than (\d+) mutations", README.read_text())
    assert int(total) <= sum(counts.values()) < int(total) + 150


def slug(title):
    """The anchor that a heading has on GitHub."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_rationale_is_short_and_its_anchors_exist():
    """A question, its decision and reason in five lines at most."""
    sections = re.split(r"^### ", (ROOT / "RATIONALE.md").read_text(), flags=re.MULTILINE)[1:]
    notes = (ROOT / "tests" / "bench" / "NOTES.md").read_text()
    anchors = {slug(title) for title in re.findall(r"^## (.+)$", notes, re.MULTILINE)}
    assert len(sections) > 30
    for section in sections:
        title, _, body = section.partition("\n")
        lines = [
            line for line in re.split(r"^## ", body, flags=re.MULTILINE)[0].splitlines() if line
        ]
        assert len(lines) <= 5, f"{title} takes {len(lines)} lines"
        for anchor in re.findall(r"NOTES\.md#([\w-]+)", body):
            assert anchor in anchors, f"{title} links to #{anchor}"
