# SPDX-License-Identifier: MIT
"""The process that tests a tier: started alike whatever the program around it is, believed only if
it says that it passed, and asked again on another day unless its answer will not change."""

import datetime
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from natten_mps import _child, doctor
from natten_mps._mps import device, selftest, verdict
from natten_mps._report import items

HOOK = Path(verdict.__file__).parents[1] / "_pyinstaller/rthooks/pyi_rth_natten_mps.py"


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Make a shell script the child; its verdicts are kept in a folder of the test."""
    monkeypatch.setenv(verdict.FOLDER, str(tmp_path / "verdicts"))
    monkeypatch.setattr(verdict, "_key", lambda tier, _: tier)
    program = tmp_path / "python"

    def write(script):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return write


def test_a_child_imports_what_its_parent_does(tmp_path, monkeypatch):
    shadow, added = tmp_path / "shadow", tmp_path / "added"
    for name in ("random", "json", "runpy", "pathlib", "importlib"):
        (shadow / name).mkdir(parents=True)
        (shadow / name / "__init__.py").write_text("raise ImportError('a file of the user')")
    added.mkdir()
    (added / "asked.py").write_text("import json, random, sys\nprint(json.dumps(sys.path))")
    monkeypatch.setattr(sys, "path", [*sys.path, str(added)])
    done = subprocess.run(
        _child.command("asked"),
        cwd=shadow,
        env=_child.environment({**os.environ, "PYTHONWARNINGS": "error", "PYTHONINSPECT": "1"}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found[: len(sys.path)] == [p or os.getcwd() for p in sys.path]
    assert found[len(sys.path) :] == [] or found[-1] == str(Path(verdict.__file__).parents[2])


@pytest.mark.parametrize("ignoring", [False, True])
def test_silence_is_not_a_pass(child, ignoring):
    child("exit 0")
    if ignoring:
        child("exit 3")  # as every child's, its status is then 0
        before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        why = verdict.self_test("2", None)
    finally:
        if ignoring:
            signal.signal(signal.SIGCHLD, before)
    assert why.startswith("the self-test ended with status 0: it said nothing")


def test_the_childs_word_is_a_pass(child):
    child(f"echo {verdict.PASSED}")
    assert verdict.self_test("2", None) is None
    child("exit 1")
    assert verdict.self_test("2", None) is None


@pytest.mark.parametrize(
    ("script", "remembered"),
    [
        ("kill -ABRT $$", True),
        ("kill -SEGV $$", True),
        ("echo out differs >&2; exit 3", True),
        ("kill -KILL $$", False),
        ("kill -TERM $$", False),
        ("echo MPS backend out of memory >&2; exit 1", False),
    ],
)
def test_what_may_change_is_asked_again_on_another_day(child, monkeypatch, script, remembered):
    child(script)
    why = verdict.self_test("2", None)
    assert why
    child(f"echo {verdict.PASSED}")
    assert verdict.self_test("2", None) == why, "this day's answer"
    monkeypatch.setattr(verdict, "_today", lambda: datetime.date(2099, 1, 1))
    assert verdict.self_test("2", None) == (why if remembered else None)
    assert len(json.loads(verdict.path().read_text())) == 1, "old answers are dropped"


def test_verdicts_of_other_processes_are_kept(child, monkeypatch):
    child(f"echo {verdict.PASSED}")
    asked = verdict._ask

    def meanwhile(tier):
        verdict._write({"another": ""})
        return asked(tier)

    monkeypatch.setattr(verdict, "_ask", meanwhile)
    assert verdict.self_test("2", None) is None
    assert json.loads(verdict.path().read_text()) == {"another": "", "2": ""}


@pytest.mark.parametrize("text", ["null", "[]", '{"2": null}', '{"2": 5}', '{"2": ["x"]}', "{", ""])
def test_a_file_that_is_not_ours_is_asked_again(child, text):
    child(f"echo {verdict.PASSED}")
    verdict.path().parent.mkdir()
    verdict.path().write_text(text)
    assert verdict.self_test("2", None) is None
    assert json.loads(verdict.path().read_text()) == {"2": ""}


def _no_home():
    raise RuntimeError("Could not determine home directory.")


def test_without_a_home_nothing_is_kept(child, monkeypatch):
    child(f"echo {verdict.PASSED}")
    for name in (verdict.FOLDER, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(verdict.Path, "home", _no_home)
    assert verdict.path() is None
    assert verdict.self_test("2", None) is None
    assert doctor._mps().get("verdicts", "nowhere") == "nowhere"


def _no_user():
    raise KeyError("getpwuid(): uid not found")


def test_a_report_without_home_and_user(monkeypatch):
    monkeypatch.setattr(verdict.Path, "home", _no_home)
    monkeypatch.setattr(items.getpass, "getuser", _no_user)
    monkeypatch.setattr(items.platform, "node", lambda: "somebodys-mac")
    monkeypatch.setattr(
        items.doctor, "report", lambda: {"problems": [], "a": "/x on somebodys-mac"}
    )
    assert items._doctor() == {"found": {"problems": [], "a": "/x on ~"}}


@pytest.mark.parametrize("executable", ["", None, "/bin/ls", "/Applications/Maya.app/MacOS/Maya"])
def test_a_program_without_a_python(monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(subprocess, "run", None)  # a second Maya does not open
    why = verdict._ask("2")
    assert why.startswith(f"sys.executable is {executable!r} (want ")
    assert "NATTEN_MPS_VERIFY=off" in why


def test_a_frozen_program_passes_on_the_status(monkeypatch):
    monkeypatch.setenv(verdict.FROZEN, "2")
    monkeypatch.setattr(selftest, "main", lambda: verdict.WRONG_STATUS)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(HOOK))
    assert ended.value.code == verdict.WRONG_STATUS


def test_a_system_that_does_not_tell_its_version(monkeypatch):
    monkeypatch.setattr(device.sys, "platform", "darwin")
    monkeypatch.setattr(device.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(device.torch.backends.mps, "is_available", lambda: True)
    for version, word in (("", None), ("13.7.1", "this is macOS 13.7.1 (want 14"), ("14.0", None)):
        monkeypatch.setattr(device.platform, "mac_ver", lambda v=version: (v, ("", "", ""), ""))
        why = device.Device().why_not()
        assert why is None if word is None else why.startswith(word)
