# SPDX-License-Identifier: MIT
"""The types of the public names, as mypy and pyright see them in a client's code."""

import importlib.util
import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import natten_mps as nm
from natten_mps import _types

FOLDER = Path(__file__).parent / "typed"
ROOT = FOLDER.parents[2]
MARKER = "# every line from here on is an error\n"


def run(*command):
    environment = {**os.environ, "MYPYPATH": str(ROOT / "python")}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def mypy(file):
    """Lines with errors."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    command = ("mypy", "--strict", "--config-file=", "--output=json", str(file))
    done = run(sys.executable, "-m", *command)
    assert done.returncode in (0, 1), done.stderr
    found = [json.loads(line) for line in done.stdout.split("\n") if line]
    return {m["line"]: m["message"] for m in found if m["severity"] == "error"}


def pyright(file, tmp_path):
    """Lines with errors."""
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is not installed")
    shutil.copy(file, tmp_path)
    settings = {
        "strict": ["."],
        "extraPaths": [str(ROOT / "python")],
        "pythonVersion": "3.10",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = ("pyright", "--outputjson", "-p", str(tmp_path), "--pythonpath", sys.executable)
    done = run(sys.executable, "-m", *command)
    if done.returncode not in (0, 1) or not done.stdout.startswith("{"):
        pytest.skip(f"pyright does not start: {(done.stderr or done.stdout)[-300:]}")
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    return {
        m["range"]["start"]["line"] + 1: m["message"]
        for m in report["generalDiagnostics"]
        if m["severity"] == "error"
    }


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_client_that_is_right(tool, tmp_path):
    file = FOLDER / "accepted.py"
    assert (mypy(file) if tool == "mypy" else pyright(file, tmp_path)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_client_of_whom_every_line_is_wrong(tool, tmp_path):
    file = FOLDER / "refused.py"
    right, wrong = file.read_text().split(MARKER)
    first = right.count("\n") + 2
    lines = dict(enumerate(wrong.splitlines(), first))
    refused = mypy(file) if tool == "mypy" else pyright(file, tmp_path)
    assert {n: text for n, text in lines.items() if n not in refused} == {}
    assert not [n for n in refused if n < first]


def parameters(function):
    """Name -> kind and default of each parameter."""
    given = inspect.signature(function).parameters
    return {n: (p.kind, p.default) for n, p in given.items() if n != "self"}


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        (_types.Fused, ("na1d", "na2d", "na3d")),
        (_types.Varlen1D, ("na1d_varlen",)),
        (_types.Varlen, ("na2d_varlen", "na3d_varlen")),
        (_types.Packed, ("na1d_packed",)),
    ],
)
def test_protocols_have_the_signatures_of_the_functions(protocol, names):
    """The last overload takes any flag, so it is the signature of the function itself."""
    written = inspect.getsource(protocol).rsplit("@overload", 1)[1]
    scope = {}
    exec(
        "from natten_mps._types import *\nfrom torch import Tensor\n" + inspect.cleandoc(written),
        scope,
    )
    for name in names:
        assert parameters(getattr(nm, name)) == parameters(scope["__call__"]), name


def test_every_public_name_is_typed_at_the_root():
    """Names that the module loads lazily are in its imports for type checkers."""
    text = inspect.getsource(nm)
    typed = {n for n in dir(nm) if f"import {n} as {n}" in text}
    assert typed == set(dir(nm))
