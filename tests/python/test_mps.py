# SPDX-License-Identifier: MIT
"""How MPS tensors run is chosen, and what natten_mps.doctor says of it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from natten_mps import _lib, _plan, backend, doctor, ops
from natten_mps._mps import device, tiers, verdict
from natten_mps.ops import Window

ROOT = Path(__file__).resolve().parents[2]
SIMULATOR = os.environ.get("NATTEN_MPS_SIMULATOR")
on_simulator = pytest.mark.skipif(not SIMULATOR, reason="NATTEN_MPS_SIMULATOR names no simulator")


def test_examined_versions_are_those_whose_wheels_were_read():
    rows = re.findall(
        r"^(\d+)\.(\d+)\.\d+ +(yes|no) +(\w+)$",
        (ROOT / "tests/downstream/torch_symbols.txt").read_text(),
        re.MULTILINE,
    )
    missing = {}
    for major, minor, there, symbol in rows:
        missing.setdefault((int(major), int(minor)), set())
        if there == "no":
            missing[int(major), int(minor)].add(symbol.startswith("aoti"))
    assert (min(missing), max(missing)) == tiers.EXAMINED
    assert min(v for v in missing if True not in missing[v]) == tiers.FIRST_WITH["1-block"]
    assert min(v for v in missing if False not in missing[v]) == tiers.FIRST_WITH["1-queue"]


class Fake(device.Device):
    """A Mac with an old torch."""

    def why_not(self):
        return None

    def probe(self):
        return "no buffers here"

    def torch_version(self):
        return (2, 9)

    def has_shaders(self):
        return False


def test_every_tier_says_why_not(monkeypatch):
    monkeypatch.delenv(tiers.OVERRIDE, raising=False)
    found = tiers._choose(Fake())
    assert found.stream is None
    assert found.refused == {
        "1-block": "torch 2.9 has no such way (want 2.10)",
        "1-queue": "no buffers here",
        "2": f"torch {torch.__version__} has no torch.mps.compile_shader",
        "3": "no buffers here",
    }
    assert "tier 2: torch" in found.why_not()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("1", ["1-block", "1-queue"]),
        ("1-queue", ["1-queue"]),
        ("3", ["3"]),
        ("", list(tiers.STREAMS)),
    ],
)
def test_override(monkeypatch, wanted, expected):
    monkeypatch.setenv(tiers.OVERRIDE, wanted)
    assert tiers._candidates() == expected


def test_unknown_override(monkeypatch):
    monkeypatch.setenv(tiers.OVERRIDE, "4")
    with pytest.raises(
        ValueError, match=r"NATTEN_MPS_TIER is '4' \(want 1, 1-block, 1-queue, 2, 3\)"
    ):
        tiers._candidates()


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has the device")
def test_device_elsewhere():
    assert device.Device().why_not() == f"Metal exists on macOS only, and this is {sys.platform}"


def test_dlpack_tells_address_and_offset():
    tensor = torch.arange(24.0)[3:]
    handle, offset = device.by_dlpack(tensor)
    assert handle + offset == tensor.data_ptr()
    assert device.by_storage(tensor) == (tensor.untyped_storage().data_ptr(), 12)


def test_failed_self_test_is_remembered(monkeypatch, tmp_path):
    monkeypatch.setenv(verdict.FOLDER, str(tmp_path / "new"))
    monkeypatch.setattr(verdict, "_key", lambda tier, _: tier)
    (tmp_path / "python").symlink_to("/bin/false")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    why = "the self-test ended with status 1: it said nothing"
    assert verdict.self_test("1-block", Fake()) == why
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert verdict.self_test("1-block", Fake()) == why
    assert "/nowhere/python" in verdict.self_test("1-queue", Fake())
    assert why in json.loads(verdict.path().read_text()).values()


def test_a_wrong_tier_speaks_against_all(monkeypatch):
    monkeypatch.setattr(tiers, "_set", lambda tier, _: None)
    monkeypatch.setattr(Fake, "probe", lambda self: None)
    monkeypatch.setattr(Fake, "torch_version", lambda self: (2, 15))
    monkeypatch.delenv(tiers.OVERRIDE, raising=False)
    monkeypatch.delenv(verdict.VERIFY, raising=False)
    asked = []

    def self_test(tier, _):
        asked.append(tier)
        return None if tier == "3" else answer

    monkeypatch.setattr(verdict, "self_test", self_test)
    answer = "the self-test ended with signal 6: an assertion"
    assert tiers._choose(Fake()).stream.tier == "3"
    assert asked == ["1-block", "1-queue", "3"]
    asked.clear()
    answer = "computes wrongly: out differs by 1"
    found = tiers._choose(Fake())
    assert found.stream is None
    assert asked == ["1-block"]
    assert found.why_not() == answer
    monkeypatch.setenv(verdict.VERIFY, "off")
    assert tiers._choose(Fake()).stream.tier == "1-block"
    assert asked == ["1-block"]


def test_a_self_test_with_wrong_numbers_asks_for_a_report(monkeypatch, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho out of rank 2 differs by 0.5 >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    why = verdict._ask("2")
    assert verdict.is_wrong(why)
    assert why.startswith(
        "computes wrongly: out of rank 2 differs by 0.5 (in the self-test of tier 2;"
    )
    assert "python -m natten_mps.doctor --report FILE" in why
    program.write_text("#!/bin/sh\necho k_f32 computes wrongly: out is 2 >&2\nexit 3\n")
    assert verdict._ask("2").startswith("computes wrongly: k_f32: out is 2 (in")


def test_unknown_mode(monkeypatch):
    monkeypatch.setenv(verdict.VERIFY, "maybe")
    with pytest.raises(ValueError, match=r"'maybe' \(want off, first or always\)"):
        verdict.mode()


@pytest.mark.skipif(not backend.available("native"), reason="no library")
def test_every_call_is_compared_on_demand(monkeypatch):
    monkeypatch.setenv(verdict.VERIFY, "always")
    monkeypatch.setattr(backend, "choice", "native")
    x = torch.rand(1, 6, 1, 4)
    window = Window((3,), (1,), (1,), (1,), (False,))
    with_nan = x.clone()
    with_nan[0, 0, 0, 0] = torch.nan
    ops.attn(with_nan, x, x, window=window, scale=0.71)  # the reference has NaN there, too
    right, values = _plan.Plan.run, [7.0]

    def wrong(self, tensors, sizes=None):
        right(self, tensors, sizes)
        if self.backend == "native":
            tensors[self._roles.index("out")][0, 1, 0, 0] = values[0]

    monkeypatch.setattr(_plan.Plan, "run", wrong)
    for values[0] in (7.0, torch.nan, torch.inf):
        with pytest.raises(ArithmeticError, match="out differs from the reference by"):
            ops.attn(x, x, x, window=window, scale=0.72)
    monkeypatch.setenv(verdict.VERIFY, "first")
    ops.attn(x, x, x, window=window, scale=0.73)


def test_unreadable_verdicts_are_asked_again(monkeypatch, tmp_path):
    monkeypatch.setenv(verdict.FOLDER, str(tmp_path))
    verdict.path().write_text("no json")
    monkeypatch.setattr(verdict, "_key", lambda tier, _: tier)
    monkeypatch.setattr(verdict, "_ask", lambda tier: "")
    assert verdict.self_test("1-block", Fake()) is None


def run_doctor(*arguments, **environment):
    merged = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    command = [sys.executable, "-m", "natten_mps.doctor", *arguments]
    return subprocess.run(command, env=merged, capture_output=True, text=True, check=False)


def test_doctor_help():
    done = run_doctor("--help")
    assert done.returncode == 0
    assert "--json" in done.stdout
    assert "The status is 1 if" in " ".join(done.stdout.split())


def test_doctor_without_library():
    done = run_doctor("--json", NATTEN_MPS_LIBRARY="/nowhere/lib.so")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert "no library at /nowhere/lib.so" in found["library"]["reason"]


def test_doctor_text():
    found = doctor.report()
    text = doctor.text(found)
    assert str(_lib.path()) in text
    assert re.search(r"^  native +yes", text, re.MULTILINE)
    assert found["self_check"]["native"] == "passed"


def test_doctor_names_problems():
    done = run_doctor(NATTEN_MPS_TIER="9")
    assert done.returncode == 1
    _, problems = done.stdout.split("\nproblems\n")
    assert "MPS tensors cannot be computed: NATTEN_MPS_TIER is '9'" in problems


#: Neither Metal nor torch's encoder has a device to show.
NO_GPU = {"METALSIM_FAIL": "device,devices", "METALSIM_HIDE": "SimComputeCommandEncoder.device"}


@on_simulator
def test_doctor_of_a_backend_that_cannot_run(tmp_path):
    environment = {"NATTEN_MPS_TIER": "", "NATTEN_BACKEND": "metal", verdict.FOLDER: str(tmp_path)}
    done = run_doctor(**environment, **NO_GPU)
    assert done.returncode == 1
    assert "backend 'metal' is chosen and cannot run: " in done.stdout
    assert "\nMPS tensors  cannot be computed here: " in done.stdout
    assert "neither finds a GPU" in done.stdout
    works = run_doctor(**environment)
    assert works.returncode == 0
    assert "\nMPS tensors  tier 1-block: in torch's current stream" in works.stdout
    assert works.stdout.endswith("\nno problems\n")


@on_simulator
@pytest.mark.parametrize(
    ("settings", "tier", "reasons"),
    [
        ({}, "1-block", {}),
        ({"METALSIM_TORCH": "2.9"}, "1-queue", {"1-block": "torch 2.9 has no such way"}),
        ({"METALSIM_HIDE": "aoti"}, "1-queue", {"1-block": "has no aoti_torch_mps_create_shader"}),
        (
            {"METALSIM_HIDE": "streams"},
            "2",
            {"1-block": "commandEncoder", "1-queue": "commandEncoder"},
        ),
        ({"METALSIM_FAIL": "device"}, "1-block", {}),
        ({"METALSIM_FAIL": "devices"}, "1-block", {}),
        ({"METALSIM_FAMILY": "6"}, None, {"3": "is not of Apple's families"}),
        ({"METALSIM_FAIL": "device,devices"}, "1-block", {}),  # torch's stream provides the GPU
        (NO_GPU, None, {"1-block": "does not tell its GPU", "3": "neither finds a GPU"}),
        ({"METALSIM_HIDE": "objc_msgSend"}, None, {"3": "objc_msgSend not found"}),
        ({"METALSIM_HIDE": "MTLCompileOptions"}, None, {"3": "no class MTLCompileOptions"}),
        (
            {"METALSIM_FAIL": "gpu"},
            None,
            {"1-block": "self-test ended", "2": "self-test ended", "3": "self-test ended"},
        ),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else None,
)
def test_doctor_on_simulator(tmp_path, settings, tier, reasons):
    environment = {"NATTEN_MPS_TIER": "", "NATTEN_BACKEND": "", verdict.FOLDER: str(tmp_path)}
    done = run_doctor("--json", NATTEN_MPS_VERIFY="first", **environment, **settings)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)["mps"]
    assert found["tier"] == tier
    for refused, reason in reasons.items():
        assert reason in found["refused"][refused]
