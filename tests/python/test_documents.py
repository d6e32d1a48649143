# SPDX-License-Identifier: MIT
"""Every code block of README.md and of the guides is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY_FOLDER = ROOT / "python" / "natten_mps" / "lib"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "python" / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL_COMMANDS = (
    "./build.sh",
    "pip install",
    "uv pip install",
    "python -m natten_mps",
    "cc ",
    "cd ",
    "git clone",
    "export ",
    "swift run",
)


def blocks() -> list[object]:
    found: list[object] = []
    for document in DOCUMENTS:
        for number, match in enumerate(FENCE.finditer(document.read_text()), 1):
            language, text = match.groups()
            name = f"{document.relative_to(ROOT)}-{number}-{language}"
            found.append(pytest.param(language, text, id=name))
    return found


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        env={**os.environ, "LD_LIBRARY_PATH": str(LIBRARY_FOLDER), **environment},
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def run_python(text: str, folder: Path) -> None:
    script = folder / "example.py"
    script.write_text(text)
    run([sys.executable, "-W", "error::DeprecationWarning", str(script)], folder)


def compile_and_run(text: str, folder: Path, suffix: str, compiler: list[str]) -> None:
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed")
    source = folder / f"example{suffix}"
    source.write_text(text)
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    link = ["-o", "example", f"-L{LIBRARY_FOLDER}", "-lnatten_mps"]
    run([*compiler, *strict, f"-I{ROOT / 'include'}", str(source), *link], folder)
    run([str(folder / "example")], folder)


def run_go(text: str, folder: Path) -> None:
    # The example imports the module's packages, so it is compiled inside the module, in a
    # folder that ./... skips.
    inside = ROOT / "build" / "_documents" / folder.name
    inside.mkdir(parents=True, exist_ok=True)
    (inside / "main.go").write_text(text)
    run(["go", "run", "."], inside)


def check_shell(text: str) -> None:
    listed = run(["./build.sh", "help"], ROOT)
    for line in text.splitlines():
        command = line.split("#")[0].strip()
        if not command:
            continue
        assert command.startswith(SHELL_COMMANDS), f"a command that no test knows: {command}"
        if command.startswith("./build.sh"):
            verb = command.split()[1]
            assert re.search(rf"^  {verb}\b", listed, re.MULTILINE), f"./build.sh has no {verb}"


@pytest.mark.parametrize(("language", "text"), blocks())
def test_block(language: str, text: str, tmp_path: Path) -> None:
    match language:
        case "python":
            run_python(text, tmp_path)
        case "c":
            compile_and_run(text, tmp_path, ".c", ["cc", "-std=c99"])
        case "cpp":
            compile_and_run(text, tmp_path, ".cpp", ["c++", "-std=c++17"])
        case "go":
            run_go(text, tmp_path)
        case "sh":
            check_shell(text)
        case "text":
            assert text.strip(), "an empty block"
        case "swift":
            pytest.skip("tests/packages/swift.sh compiles and runs it")
        case _:
            pytest.fail(f"a block in a language that no test runs: {language!r}")
