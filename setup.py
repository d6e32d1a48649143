# SPDX-License-Identifier: MIT
"""Builds the Go library into the package; everything else is in pyproject.toml."""

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

ROOT = Path(__file__).resolve().parent
# Set by `./build.sh wheel`, which has cross-compiled the library into place already.
WHEEL_PLATFORM = os.environ.get("NATTEN_MPS_WHEEL_PLATFORM")


def _require(program: str, what: str, remedy: str) -> None:
    if shutil.which(program) is None:
        raise SetupError(
            f"natten-mps is built from source here, which needs {what}, but `{program}` is not on "
            f"PATH. {remedy} A wheel, once built elsewhere by ./build.sh wheel, needs neither."
        )


def _check_tools() -> None:
    _require("bash", "bash", "Install it with the system's package manager.")
    _require(
        "go",
        "Go 1.26 or newer",
        "Install it from the Go project's download page or a package manager.",
    )
    command = ["go", "env", "CC"]
    compiler = os.environ.get("CC") or subprocess.check_output(command, text=True).strip()
    _require(
        compiler.split()[0],
        "a C compiler (cgo links the library with it)",
        "Install gcc or clang, on macOS with `xcode-select --install`, or set CC.",
    )


class BuildPy(build_py):
    """Builds libnatten_mps before the package's files are collected."""

    def run(self) -> None:
        """Run `./build.sh build`, the one way to build the library, then collect."""
        if WHEEL_PLATFORM is None:
            _check_tools()
            subprocess.check_call(["bash", str(ROOT / "build.sh"), "build"], cwd=ROOT)
        super().run()


class Wheel(bdist_wheel):
    """Tags the wheel py3-none-<platform>: ctypes needs no Python ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        """Keep the platform, which the library decides, and drop the interpreter."""
        return "py3", "none", WHEEL_PLATFORM or super().get_tag()[2]


class PlatformDistribution(Distribution):
    """A distribution that carries a compiled library without an extension module."""

    def has_ext_modules(self) -> bool:
        """Make the wheel a platform wheel."""
        return True


setup(cmdclass={"build_py": BuildPy, "bdist_wheel": Wheel}, distclass=PlatformDistribution)
