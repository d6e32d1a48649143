#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Break the shaders and the host side one place at a time, and see that a test notices.

    mutate.py [--only TEXT] [--report FILE] FOLDER

FOLDER becomes a copy of the tracked files of this checkout, in which the mutations of
mutations.json are made one after the other; .venv is linked. A mutation is caught when the test
that it names fails; the tests pass before the first.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 600


def command(test: str) -> list[str]:
    """The command of a test: PACKAGE:FUNCTION[/SUBTEST...] of Go, or py:TIER[:NAMES]."""
    kind, _, which = test.partition(":")
    if kind == "py":
        tier, _, names = which.partition(":")
        select = ["-k", names] if names else []
        pytest = [".venv/bin/python", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *select]
        run = " ".join(f"'{a}'" for a in [*pytest, "tests/metalsim/python"])
        # one line, because the library has to be built from the mutated source first
        return ["bash", "-c", f"./build.sh build >/dev/null && NATTEN_MPS_TIER={tier} {run}"]
    pattern = "/".join(f"^({part})$" for part in which.split("/"))
    return ["go", "test", "-vet=off", "-count=1", "-failfast", "-run", pattern, f"./{kind}"]


def environment(simulator: str) -> dict[str, str]:
    """What Python tests on the simulator want."""
    return {
        **os.environ,
        "NATTEN_MPS_SIMULATOR": simulator,
        "NATTEN_BACKEND": "metal",
        "PYTHONPATH": "python:tests/metalsim/python",  # not the package that .venv points to
        "METALSIM_MODE": "checked",
    }


def run(test: str, folder: Path, env: dict[str, str]) -> tuple[bool, str]:
    """Whether the test passes, and what it printed."""
    if test.split(":")[0] != "py":
        env = {k: v for k, v in env.items() if k != "METALSIM_MODE"}
    try:
        done = subprocess.run(
            command(test),
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"no end after {LIMIT} s"
    return done.returncode == 0, done.stdout


def reason(output: str) -> str:
    """The line that says which test failed, and the first that says why."""
    lines = [line.strip() for line in output.splitlines()]
    failed = [m.group(1) for line in lines if (m := re.match(r"(?:--- FAIL:|FAILED) (\S+)", line))]
    marks = r"Error:|^E  |race|out of bounds|uninitialized|divergence|validation:|objc:|fatal|panic"
    why = next((line for line in lines if re.search(marks, line)), "")
    return " ".join([failed[-1] if failed else "", why])[:200].strip().replace("|", "/")


def mutate(folder: Path, m: dict[str, Any]) -> tuple[Path, str]:
    """Make a mutation; ValueError if its text is not there exactly once. Gives the file and what
    was in it."""
    path = folder / m["file"]
    text = path.read_text()
    if text.count(m["from"]) != 1:
        raise ValueError(f"{m['what']}: the text is {text.count(m['from'])} times in {m['file']}")
    path.write_text(text.replace(m["from"], m["to"]))
    return path, text


def copy(folder: Path) -> None:
    """Copy the tracked files."""
    shutil.rmtree(folder, ignore_errors=True)
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")


def main() -> None:
    """Run the mutations; exit status 1 if one is not caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--only",
        default="",
        help="mutations whose description or test this regular expression matches",
    )
    parser.add_argument("--trust", action="store_true", help="the tests are known to pass")
    parser.add_argument("--report", type=Path, help="file for the table, besides standard output")
    options = parser.parse_args()
    everything = json.loads((Path(__file__).parent / "mutations.json").read_text())
    wanted = [m for m in everything if re.search(options.only, m["what"] + " " + m["test"])]
    folder = options.folder.resolve()
    copy(folder)
    build = ["go", "run", "./tests/metalsim/cmd/simbuild"]
    simulator = subprocess.run(
        build, cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()
    env = environment(simulator)
    for test in [] if options.trust else sorted({m["test"] for m in wanted}):
        passed, output = run(test, folder, env)
        if not passed:
            sys.exit(f"{test} fails without a mutation:\n{output[-4000:]}")
    lines = ["| mutation | file | caught by | how |", "|---|---|---|---|"]
    print("\n".join(lines))
    survived = 0
    for m in wanted:
        path, text = mutate(folder, m)
        started = time.monotonic()
        passed, output = run(m["test"], folder, env)
        path.write_text(text)
        survived += passed
        how = "**survived**" if passed else reason(output.replace(f"{folder}/", ""))
        line = f"| {m['what']} | {m['file']} | {m['test'].replace('|', ', ')} | {how} |"
        lines.append(line)
        print(line, f"{time.monotonic() - started:.0f} s", flush=True)
    total = f"\n{len(wanted) - survived} of {len(wanted)} caught"
    print(total)
    if options.report:
        options.report.write_text("\n".join(lines) + "\n" + total + "\n")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
