#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Break our own sources one place at a time, and see that a test notices.

    mutate.py [--area AREA] [--only TEXT] [--report FILE] FOLDER

The mutations of AREA.json are made one after the other (metal: shaders and the GPU's host side;
python: the package) in FOLDER, which becomes a copy of the tracked files of this checkout; .venv
is linked. Those of core (the Go core and the C border) are overlays of Go's build instead, two at
a time, which FOLDER holds. A mutation is caught when the test that it names fails; the tests pass
before the first.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 600
GO_LIMIT = 120  # seconds for a test of the core, since a mutation may loop forever


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
    marks = (
        r"Error:|^E  |\brace|out of bounds|uninitialized|divergence|validation:|objc:|fatal|panic"
    )
    why = next((line for line in lines if re.search(marks, line)), "")
    return " ".join([failed[-1] if failed else "", why])[:200].strip().replace("|", "/")


def mutated(root: Path, m: dict[str, Any]) -> str:
    """What a mutation makes of its file; ValueError if its text is not there exactly once."""
    text = (root / m["file"]).read_text()
    if text.count(m["from"]) != 1:
        raise ValueError(f"{m['what']}: the text is {text.count(m['from'])} times in {m['file']}")
    return text.replace(m["from"], m["to"])


def overlay(folder: Path, number: int, m: dict[str, Any]) -> Path:
    """Write a mutation as an overlay of Go's build."""
    source = folder / f"_{number}.go"  # a name that Go ignores in packages
    source.write_text(mutated(ROOT, m))
    path = folder / f"{number}.json"
    path.write_text(json.dumps({"Replace": {str(ROOT / m["file"]): str(source)}}))
    return path


def run_go(test: str, folder: Path, place: Path | None = None) -> tuple[bool, str]:
    """Whether a test of Go passes with an overlay, and what it printed. Tests of the built
    library get one of the same sources. That sources do not compile, or that no test is run, is
    a defect of the mutation."""
    flags = ["-overlay", str(place)] if place else []
    env = {k: v for k, v in os.environ.items() if not k.startswith("NATTEN_")}
    if test.startswith("tests/exported:"):
        library = folder / f"{place.stem if place else 'whole'}.so"
        build = ["go", "build", *flags, "-buildmode=c-shared", "-o", str(library), "./capi"]
        built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
        if built.returncode:
            sys.exit(f"{place}: {built.stderr}")
        env["NATTEN_MPS_LIBRARY"], flags = str(library), []
    go, *rest = command(test)
    arguments = [go, rest[0], *flags, "-short", "-timeout", f"{GO_LIMIT}s", *rest[1:]]
    done = subprocess.run(arguments, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if place and place.with_suffix(".so").exists():
        place.with_suffix(".so").unlink()
    output = done.stdout + done.stderr
    if re.search(r"\[build failed\]|\[setup failed\]|no tests to run", output):
        sys.exit(f"{place}, {test}: {output}")
    return done.returncode == 0, output


def overlaid(wanted: list[dict[str, Any]], folder: Path) -> Iterator[tuple[bool, str]]:
    """The answers to mutations that are overlays."""
    places = [overlay(folder, number, m) for number, m in enumerate(wanted)]
    with ThreadPoolExecutor(2) as both:
        yield from both.map(lambda m, place: run_go(m["test"], folder, place), wanted, places)


def in_copy(
    wanted: list[dict[str, Any]], folder: Path, ask: Callable[[str], tuple[bool, str]]
) -> Iterator[tuple[bool, str]]:
    """The answers to mutations that are made in the copy."""
    for m in wanted:
        path = folder / m["file"]
        text = path.read_text()
        path.write_text(mutated(folder, m))
        yield ask(m["test"])
        path.write_text(text)


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
    if area == "core":
        return lambda test: run_go(test, folder)
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
    if options.area == "core":
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    else:
        copy(folder)
    ask = runner(options.area, folder)
    for test in [] if options.trust else sorted({m["test"] for m in wanted}):
        passed, output = ask(test)
        if not passed:
            sys.exit(f"{test} fails without a mutation:\n{output[-4000:]}")
    lines = ["| mutation | file | caught by | how |", "|---|---|---|---|"]
    print("\n".join(lines))
    survived = 0
    is_core = options.area == "core"
    answers = overlaid(wanted, folder) if is_core else in_copy(wanted, folder, ask)
    started = time.monotonic()
    for m, (passed, output) in zip(wanted, answers, strict=True):
        survived += passed
        how = (
            "**survived**"
            if passed
            else reason(output.replace(f"{folder}/", "").replace(f"{ROOT}/", ""))
        )
        line = f"| {m['what']} | {m['file']} | {m['test'].replace('|', ', ')} | {how} |"
        lines.append(line)
        print(line, f"{time.monotonic() - started:.0f} s", flush=True)
        started = time.monotonic()
    total = f"\n{len(wanted) - survived} of {len(wanted)} caught"
    print(total)
    if options.report:
        options.report.write_text("\n".join(lines) + "\n" + total + "\n")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
