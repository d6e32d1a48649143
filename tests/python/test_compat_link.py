# SPDX-License-Identifier: MIT
"""What a linked environment shows to interpreters and to tools that look at the disk."""

import os
import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path

import pytest
from test_compat_children import PACKAGE, output

from natten_mps.compat._link import installed, link, unlink


@pytest.fixture
def site_packages(tmp_path, monkeypatch):
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    return tmp_path


def described(folder):
    return {d.metadata["Name"]: d for d in distributions(path=[str(folder)])}


def test_an_interpreter_starts_with_the_version(site_packages):
    assert link("0.15.1") == site_packages / "natten_mps_compat.pth"
    program = (
        f"import site; site.addsitedir({str(site_packages)!r})\n"
        "import importlib.metadata, sys; print(importlib.metadata.version('natten'))\n"
        "assert 'importlib.metadata' in sys.modules and 'torch' not in sys.modules\n"
        "from natten_mps.compat import activate; activate('0.14.6')\n"
        "print(importlib.metadata.version('natten'))"
    )
    assert output("-c", program, folder=site_packages).split() == ["0.15.1", "0.14.6"]


def test_the_description_on_the_disk(site_packages):
    link("0.15.1")
    link("0.17.5")
    found = described(site_packages)
    assert {name: d.version for name, d in found.items()} == {"natten": "0.17.5"}
    owned = {str(path) for path in found["natten"].files}
    written = {str(p.relative_to(site_packages)) for p in site_packages.rglob("*") if p.is_file()}
    assert owned == written
    assert installed() == []


def test_unlink_leaves_nothing(site_packages):
    path = link("0.17.5")
    assert unlink() == path
    assert list(site_packages.iterdir()) == []
    assert unlink() is None


def test_another_natten_keeps_its_description(site_packages):
    other = site_packages / "natten-9.9.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: natten\nVersion: 9.9\n")
    link("0.17.5")
    assert described(site_packages)["natten"].version == "9.9"
    assert installed() == [other]
    unlink()
    assert list(site_packages.iterdir()) == [other]


def test_a_version_that_is_none(site_packages):
    with pytest.raises(ValueError, match="junk"):
        link("junk")
    assert list(site_packages.iterdir()) == []


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment with natten-mps, pip, uv and the last setuptools that has pkg_resources."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=True)
    python = folder / "bin/python"
    tools = ["uv==0.13.9", "setuptools==80.9.0", "packaging"]
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *tools], check=True)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(site) / "source.pth").write_text(f"{PACKAGE}\n")
    return folder


def said(environment, *command):
    """Output of a program of the environment, which runs without access to an index."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "PYTHON"))}
    variables |= {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1", "VIRTUAL_ENV": str(environment)}
    program = environment / "bin" / command[0]
    done = subprocess.run(
        [program, *command[1:]], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the layout of a POSIX environment")
def test_pip_uv_and_pkg_resources(environment):
    said(environment, "python", "-m", "natten_mps.compat", "link", "0.17.5")
    assert "natten 0.17.5" in " ".join(said(environment, "uv", "pip", "list").split())
    said(environment, "uv", "pip", "install", "natten==0.17.5", "natten>=0.14")
    said(environment, "uv", "pip", "check")
    assert "Version: 0.17.5" in said(environment, "pip", "show", "-f", "natten")
    assert "already satisfied: natten==0.17.5" in said(
        environment, "pip", "install", "natten==0.17.5"
    )
    code = "import pkg_resources; print(pkg_resources.require('natten>=0.17')[0])"
    assert said(environment, "python", "-W", "ignore", "-c", code).strip() == "natten 0.17.5"
    said(environment, "pip", "uninstall", "-y", "natten")
    code = "import importlib.util as u; print(u.find_spec('natten'))"
    assert said(environment, "python", "-c", code).strip() == "None"
    for before, after in [("", "import pkg_resources;"), ("import pkg_resources;", "")]:
        code = f"{before}from natten_mps.compat import activate; activate('0.15.1'); {after}"
        code += "assert 'natten' in {d.key for d in pkg_resources.working_set};"
        code += "print(pkg_resources.require('natten')[0])"
        assert said(environment, "python", "-W", "ignore", "-c", code).strip() == "natten 0.15.1"
