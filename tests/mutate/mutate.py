#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Break our own sources one place at a time, and see that a test notices.

    mutate.py [--area AREA] [--only TEXT] [--report FILE] FOLDER

FOLDER becomes a copy of the tracked files of this checkout, in which the mutations of AREA.json
(metal: shaders and the GPU's host side; python: the package) are made one after the other; .venv
is linked. A mutation is caught when the test that it names fails; the tests pass before the first.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 600


def command(test: str) -> list[str]:
    """The command of a test: PACKAGE:FUNCTION[/SUBTEST...] of Go, the same after arm64: on arm64,
    or py:TIER[:NAMES], the Python tests on the simulator."""
    kind, _, which = test.partition(":")
    if kind == "py":
        tier, _, names = which.partition(":")
        select = ["-k", names] if names else []
        pytest = [".venv/bin/python", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *select]
        run = " ".join(f"'{a}'" for a in [*pytest, "tests/metalsim/python"])
        # one line, because the library has to be built from the mutated source first
        build = "NATTEN_MPS_LIBRARY=$(tests/metalsim/library.sh)"
        return ["bash", "-c", f"export {build} && NATTEN_MPS_TIER={tier} {run}"]
    go = ["go", "test"]
    if kind == "arm64":
        kind, _, which = which.partition(":")
        go = ["tests/metalsim/arm64/run.sh", "go"]
    pattern = "/".join(f"^({part})$" for part in which.split("/"))
    return [*go, "-vet=off", "-count=1", "-failfast", "-run", pattern, f"./{kind}"]


class Pytest:
    """The process that answers tests of the form pytest:FILE[:NAMES], a file of tests/python."""

    def __init__(self, folder: Path) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NATTEN_")}
        self.process = subprocess.Popen(
            [".venv/bin/python", Path(__file__).with_name("server.py"), folder],
            cwd=folder,
            env={**environment, "PYTHONPATH": "python", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, test: str) -> tuple[bool, str]:
        """Whether the test passes, and what it printed. That no test is run is no failure."""
        _, name, *names = test.split(":", 2)
        select = ["-k", names[0]] if names else []
        arguments = ["-x", "-q", "-p", "no:cacheprovider", f"tests/python/{name}.py", *select]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if answer["status"] == 5:
            sys.exit(f"{test} selects nothing")
        return answer["status"] == 0, answer["output"]


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


def runner(area: str, folder: Path) -> Callable[[str], tuple[bool, str]]:
    """What tells whether a test passes, and what it printed."""
    if area == "python":
        library = Path("python/natten_mps/lib/libnatten_mps.so")
        (folder / library).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / library, folder / library)
        return Pytest(folder).run
    build = ["go", "run", "./tests/metalsim/cmd/simbuild"]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, check=True)
    env = environment(done.stdout.strip())
    return lambda test: run(test, folder, env)


def main() -> None:
    """Run the mutations; exit status 1 if one is not caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    areas = sorted(p.stem for p in Path(__file__).parent.glob("*.json"))
    parser.add_argument("--area", choices=areas, default="metal")
    parser.add_argument(
        "--only",
        default="",
        help="mutations whose description or test this regular expression matches",
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one mutation in N")
    parser.add_argument("--trust", action="store_true", help="the tests are known to pass")
    parser.add_argument("--report", type=Path, help="file for the table, besides standard output")
    options = parser.parse_args()
    everything = json.loads(Path(__file__).with_name(f"{options.area}.json").read_text())
    wanted = [m for m in everything if re.search(options.only, m["what"] + " " + m["test"])]
    wanted = wanted[:: options.every]
    folder = options.folder.resolve()
    copy(folder)
    ask = runner(options.area, folder)
    for test in [] if options.trust else sorted({m["test"] for m in wanted}):
        passed, output = ask(test)
        if not passed:
            sys.exit(f"{test} fails without a mutation:\n{output[-4000:]}")
    lines = ["| mutation | file | caught by | how |", "|---|---|---|---|"]
    print("\n".join(lines))
    survived = 0
    for m in wanted:
        path, text = mutate(folder, m)
        started = time.monotonic()
        passed, output = ask(m["test"])
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
