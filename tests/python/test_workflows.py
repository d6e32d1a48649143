# SPDX-License-Identifier: MIT
"""The commands of the workflows exist, and every suite has a job."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML")
ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# Programs that runners have, or that an earlier step installs.
PROGRAMS = {"sudo", "test", "git", "gh", "jq", "echo"}


def jobs():
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield f"{path.stem}-{name}", job


def commands(job):
    """Each command of a job, without prefixes that only choose the user who runs it."""
    for step in job["steps"]:
        for line in step.get("run", "").splitlines():
            plain = re.sub(r'^sudo( -E env "PATH=\$PATH")? ', "", line.strip())
            if plain.strip("{}"):
                yield plain


@pytest.fixture(scope="module")
def verbs():
    text = subprocess.check_output(["./build.sh", "help"], cwd=ROOT, text=True)
    return {line.split()[0] for line in text.splitlines()[1:] if re.match(r"  \w", line)}


@pytest.mark.parametrize(("name", "job"), list(jobs()), ids=[name for name, _ in jobs()])
def test_commands_exist(name, job, verbs):
    assert name.endswith("required") or job["timeout-minutes"] <= 120
    for command in commands(job):
        program, *arguments = shlex.split(
            re.split(r">>|<<<", command.removeprefix("} "))[0] or "echo"
        )
        if program == "./build.sh":
            assert arguments[0] in verbs, f"./build.sh has no verb {arguments[0]}"
            if arguments[0] == "test" and len(arguments) > 1:
                script = (ROOT / "build.sh").read_text()
                assert f"\ntest_{arguments[1]}()" in script
        elif program == ".venv/bin/python":
            assert arguments[:2] == ["-m", "pip"]
        elif "/" in program:
            assert os.access(ROOT / program, os.X_OK), f"{program} is no program of this tree"
        else:
            assert program in {*PROGRAMS, "apt-get"}, f"no step installs {program}"
    for step in job["steps"]:
        if step.get("uses", "").startswith("./"):
            assert (ROOT / step["uses"] / "action.yml").exists()


def test_every_suite_has_a_job():
    ran = {command for _, job in jobs() for command in commands(job)}
    for wanted in ("gen", "lint", "slow", "shadercov", "fuzz", "docs", "release", "test"):
        assert any(c.startswith(f"./build.sh {wanted}") for c in ran), f"no job runs {wanted}"


def test_all_jobs_are_required():
    everything = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert set(everything["required"]["needs"]) == everything.keys() - {"required"}
