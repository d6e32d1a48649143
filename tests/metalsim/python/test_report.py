# SPDX-License-Identifier: MIT
"""natten_mps.doctor --report: a file whatever happens, that goes on where it was cut off."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

if not os.environ.get("NATTEN_MPS_SIMULATOR"):
    pytest.skip("NATTEN_MPS_SIMULATOR names no simulator", allow_module_level=True)
if os.environ.get("NATTEN_MPS_TIER", "1-block") != "1-block":
    pytest.skip("a report has all tiers", allow_module_level=True)

from natten_mps._report import file, items, kernels, summary, supervisor

TABLE = Path(__file__).resolve().parents[1] / "reports" / "table.py"


def environment(**settings):
    kept = {**os.environ, "METALSIM_MODE": "fast", "NATTEN_BACKEND": "", "NATTEN_MPS_TIER": ""}
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path), **settings}


def command(path, seconds):
    return [sys.executable, "-m", "natten_mps.doctor", "--report", path, "--seconds", str(seconds)]


def report(path, seconds, **settings):
    done = subprocess.run(
        command(path, seconds),
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(path.read_text()), done


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("device,devices", "neither finds a GPU"),
        ("gpu", "Address Fault"),
        ("gpu_timeout", "Timeout"),
        ("library", "Compiler encountered an internal error"),
        ("pipeline", "exceeds available temporary registers"),
    ],
)
def test_a_gpu_that_fails_is_reported(tmp_path, fault, word):
    hidden = "SimComputeCommandEncoder.device" if "device" in fault else ""
    status, found, done = report(tmp_path / "r.json", 1, METALSIM_FAIL=fault, METALSIM_HIDE=hidden)
    assert status == 1, done.stderr
    whys = " ".join(item.get("why", "") for item in found["items"].values())
    assert word in whys
    assert "Something failed" in (tmp_path / "r.json.txt").read_text()


def test_a_report_that_was_killed_goes_on(tmp_path):
    path = tmp_path / "r.json"
    running = subprocess.Popen(command(path, 60), env=environment(), start_new_session=True)
    while not path.exists() or "tier 2/order" not in path.read_text():  # past the choices
        assert running.poll() is None
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    before = json.loads(path.read_text())["items"]
    status, found, done = report(path, 1)
    assert done.stderr == ""
    crashed = [n for n, i in found["items"].items() if i["status"] == file.CRASHED]
    assert crashed == [n for n, i in before.items() if i["status"] == file.STARTED]
    for name, item in before.items():
        if name not in crashed:
            assert found["items"][name] == item, "is not tried again"
    assert len(found["items"]) >= len(before)
    assert status == (1 if crashed else 0)
    assert found["not_reached"] > 0


def test_a_crash_costs_one_item(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, signal, sys\n"
        "path = sys.argv[5]\n"
        "r = json.load(open(path))\n"
        "n = len(r['items'])\n"
        "r['items'][f'a/{n}'] = {'status': 'started'} if n < 2 else {'status': 'ok'}\n"
        "r['finished'] = n == 2\n"
        "json.dump(r, open(path, 'w'))\n"
        "if n < 2: os.kill(os.getpid(), signal.SIGABRT)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert supervisor.run(str(path), 30) == 1
    found = json.loads(path.read_text())
    assert [i["status"] for i in found["items"].values()] == ["crashed", "crashed", "ok"]
    assert found["items"]["a/0"]["why"] == "the process ended with signal 6"


def test_what_hangs_is_ended(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text(
        "#!/bin/sh\n"
        """echo '{"format": 1, "finished": false, "items": {"a/b": """
        """{"status": "started"}}}' > "$5"\n"""
        "exec sleep 60\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(supervisor, "GRACE", 0.2)
    assert supervisor.run(str(tmp_path / "r.json"), 0.5) == 1
    assert json.loads((tmp_path / "r.json").read_text())["items"]["a/b"]["status"] == file.HUNG


def test_another_file_is_left_alone(tmp_path, capsys):
    other = tmp_path / "notes.json"
    other.write_text('{"mine": 1}')
    assert supervisor.run(str(other)) == 2
    assert other.read_text() == '{"mine": 1}'
    assert "is no report (want a new file" in capsys.readouterr().err


def test_items_are_named_once_and_drawn_alike():
    names = [item.name for item in items.items()]
    assert len(names) == len(set(names))
    assert len([n for n in names if n.startswith("kernels/")]) == len(kernels.kernels())
    first, again = items.draw(5), items.draw(5)
    assert first.name == again.name
    assert all((first.tensors[n] == again.tensors[n]).all() for n in first.tensors)


def test_a_report_has_no_personal_facts(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("NATTEN_MPS_CACHE", "/home/somebody/cache")
    monkeypatch.setattr(items.getpass, "getuser", lambda: "somebody")
    monkeypatch.setattr(items.platform, "node", lambda: "somebodys-mac")
    monkeypatch.setattr(
        items.doctor,
        "report",
        lambda: {"problems": [], "a": "/home/somebody/cache on somebodys-mac of somebody"},
    )
    assert items._doctor() == {"found": {"problems": [], "a": "~/cache on ~ of ~"}}


def _one(status, name="tier 3/seed 0", **more):
    return {"format": 1, "finished": True, "took": 1, "items": {name: {"status": status, **more}}}


def test_status_of_a_report():
    good = _one("ok")
    assert not summary.is_good(good), "no tier was tried"
    good["items"]["tier 3/choice"] = {"status": "ok"}
    assert summary.is_good(good)
    assert not summary.is_good({**good, "items": {**good["items"], "a/b": {"status": "hung"}}})
    assert not summary.is_good({**good, "items": {}})
    refused = {"tier 3/choice": {"status": "failed"}, "tier 3/order": {"status": "failed"}}
    assert not summary.is_good({**good, "items": refused}), "all tiers are refused"
    other = {**refused, "tier 2/choice": {"status": "ok"}}
    assert summary.is_good({**good, "items": other})


def test_what_to_do_next():
    whole = summary.what_next({**_one("ok"), "not_reached": 0}, "r.json")
    assert whole.startswith("Written: r.json and r.json.txt.\nPlease attach r.json to an issue")
    cut = summary.what_next({**_one("ok"), "finished": False, "not_reached": 3}, "r.json")
    assert "\n3 of 4 things are left to try: the same command goes on" in cut
    killed = summary.what_next({**_one("ok"), "finished": False}, "r.json")
    assert "\nSomething is left to try: the same command" in killed


def test_table(tmp_path):
    path = tmp_path / "r.json"
    found = _one("ok", error=3e-7)
    found["items"]["kernels/a"] = {
        "status": "ok",
        "functions": {"f": {"max_threads_per_threadgroup": 640}},
    }
    found["items"]["speed/row"] = {"status": "ok", "ms": {"metal": {"f": 1}, "pure": {"f": 20}}}
    path.write_text(json.dumps(found))
    done = subprocess.run(
        [sys.executable, TABLE, path], capture_output=True, text=True, check=True
    ).stdout
    assert "| simulated Metal |" in done
    assert "| 3 | 1 of 1 | 3e-07 | 1 compiled, at least 640 threads | row: 1 ms, pure 20 |" in done
