# SPDX-License-Identifier: MIT
"""A program frozen by PyInstaller with the package's hook: built, and run."""

import os
import subprocess
import sys
import sysconfig

import pytest

from natten_mps._pyinstaller import get_hook_dirs

# PyTorch takes several gigabytes, so it is not packed into the program, which finds the installed
# one.
PROGRAM = """
import sys
sys.path += {outside!r}
import natten_mps as nm
import torch
from natten_mps import _lib
from natten_mps._mps import verdict
assert sys.frozen and "natten_mps" in sys.modules
x = torch.ones(1, 9, 9, 2, 4)
print(nm.get_backend(), nm.na2d(x, x, x, 3).sum().item(), _lib.path().is_relative_to(sys._MEIPASS))
from natten_mps import compat
print(compat.for_version("0.21.7").__name__)
print(verdict._ask("none-such"))
"""


#: Of Python's own packages PyInstaller takes what the program imports; PyTorch imports more.
PACKAGES = ("asyncio", "collections", "concurrent", "ctypes", "email", "html", "http", "importlib")
PACKAGES += ("json", "logging", "multiprocessing", "unittest", "urllib", "xml", "xmlrpc")


def outside():
    paths = sysconfig.get_paths()
    dynamic = sysconfig.get_config_var("DESTSHARED")
    return [paths["purelib"], paths["platlib"], paths["stdlib"], dynamic]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    pytest.importorskip("PyInstaller", reason="PyInstaller is not installed")
    folder = tmp_path_factory.mktemp("frozen")
    (folder / "program.py").write_text(PROGRAM.format(outside=outside()))
    command = [sys.executable, "-m", "PyInstaller", "--onedir", "--log-level=ERROR"]
    command += ["--additional-hooks-dir", *get_hook_dirs()]
    for name in ("torch", "numpy", "matplotlib", "packaging", "nvidia", "triton", "sympy"):
        command += ["--exclude-module", name]
    for name in PACKAGES:
        command += ["--collect-submodules", name]
    subprocess.run([*command, "program.py"], cwd=folder, check=True, timeout=500)
    return folder / "dist" / "program" / "program"


@pytest.mark.slow
def test_frozen_program(program):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NATTEN", "PYTHON"))}
    done = subprocess.run(
        [program], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert lines[0] == "native 648.0 True"
    assert "0" in lines[1]
    # The program was started again as the self-test, which failed because PyTorch was not found:
    # its hook runs before the line above that tells where PyTorch is.
    assert "pyi_rth_natten_mps" in lines[2]
    assert len(lines) == 3
