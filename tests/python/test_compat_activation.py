# SPDX-License-Identifier: MIT
"""`import natten` served by a generation, in processes of their own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from natten_mps.compat import for_version

PACKAGE = Path(__file__).parent.parent.parent / "python"


def _python(*arguments, path=(), check=True):
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = os.pathsep.join(map(str, filter(None, (*path, PACKAGE, *inherited))))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture
def installed_natten(tmp_path):
    """A folder in which another `natten` is installed."""
    package = tmp_path / "site" / "natten"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '9.9'\n")
    (package / "only_there.py").write_text("")
    information = tmp_path / "site" / "natten-9.9.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: natten\nVersion: 9.9\n")
    return tmp_path / "site"


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("0.14.4", "v014"),
        ("0.14.6", "v014"),
        ("0.15.1", "v015"),
        ("0.15.1.dev0", "v015"),
        ("0.16.0", "v017"),
        ("0.17.5", "v017"),
        ("0.20.0rc1", "v020"),
        ("0.20.1", "v020"),
        ("0.21.0", "v021"),
        ("0.22", "v021"),
    ],
)
def test_generation_of_a_version(version, name):
    assert for_version(version).__name__ == f"natten_mps.compat.{name}"


def test_a_version_that_is_none():
    with pytest.raises(ValueError, match="nonsense"):
        for_version("nonsense")


def test_import_metadata_and_submodules(installed_natten):
    """Many checks in one process, since each takes seconds. An installed natten is shadowed."""
    program = """
        import importlib.metadata, importlib.util, pickle, sys
        from natten_mps.compat import activate
        assert "torch" not in sys.modules, "activation is light"
        activate("0.17.3")
        activate("0.17.3")
        assert importlib.metadata.version("natten") == "0.17.3"
        assert importlib.util.find_spec("natten") is not None
        names = [d.metadata["Name"] for d in importlib.metadata.distributions(name="natten")]
        assert names[0] == "natten"
        assert importlib.metadata.packages_distributions()["natten"][0] == "natten"
        import natten
        assert natten.__version__ == "0.17.3"
        assert natten.functional.na2d_qk.__module__ == "natten.functional"
        import natten.utils.checks as checks
        from natten.na2d import NeighborhoodAttention2D, na2d
        from natten.functional import natten2dqkrpb, FusedNeighborhoodAttention1D
        from natten_mps.compat import v017
        assert issubclass(NeighborhoodAttention2D, v017.NeighborhoodAttention2D)
        assert sys.modules["natten.utils.checks"] is checks is natten.utils.checks
        assert checks.check_all_args is v017.utils.checks.check_all_args
        assert v017.__spec__.name == "natten_mps.compat.v017"
        assert natten.__spec__.name == "natten"
        assert (natten.__version__, v017.__version__) == ("0.17.3", "0.17.5")
        assert importlib.util.find_spec("natten.only_there") is None
        import torch
        q = torch.randn(1, 8, 2, 4)
        out = FusedNeighborhoodAttention1D.apply(q, q, q, None, 3, 1, False, 0.5, None, None)
        assert isinstance(out, torch.Tensor), "one result before 0.17.4"
        layer = pickle.loads(pickle.dumps(NeighborhoodAttention2D(8, 2, 3)))
        assert layer(torch.zeros(1, 4, 4, 8)).shape == (1, 4, 4, 8)
        try:
            activate("0.20.1")
        except RuntimeError as error:
            assert "0.17.3" in str(error) and "0.20.1" in str(error)
        else:
            raise AssertionError("two versions in one process")
    """
    _python("-c", textwrap.dedent(program), path=[installed_natten])


def test_after_another_natten_was_imported(installed_natten):
    program = "import natten; from natten_mps.compat import activate; activate('0.21.6')"
    done = _python("-c", program, path=[installed_natten], check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: natten was already imported from")
    assert str(installed_natten) in last


def test_running_a_script_and_a_module(tmp_path):
    (tmp_path / "beside.py").write_text("value = 5\n")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, natten, beside\n"
        "assert __name__ == '__main__'\n"
        "print(natten.__version__, sys.argv[1:], beside.value)\n"
    )
    done = _python("-m", "natten_mps.compat", "0.21.6", script, "-x", "y")
    assert done.stdout == "0.21.6 ['-x', 'y'] 5\n"
    done = _python("-m", "natten_mps.compat", "0.14.6", "-m", "script", "z", path=[tmp_path])
    assert done.stdout == "0.14.6 ['z'] 5\n"


SAY = "import sys, importlib.metadata as m; print(m.version('natten'), sys.argv, __name__)"


@pytest.mark.parametrize("way", ["code", "input", "command", "folder", "nothing"])
def test_running_as_python_does(way, tmp_path):
    (tmp_path / "__main__.py").write_text(SAY)
    command = tmp_path / "say"
    command.write_text(f"#!{sys.executable}\n{SAY}\n")
    command.chmod(0o755)
    arguments = {
        "code": ["-c", SAY],
        "input": ["-"],
        "command": ["say"],
        "folder": [str(tmp_path)],
        "nothing": ["say nothing"],
    }[way]
    search = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "natten_mps.compat", "0.17.3", *arguments, "x"],
        env=os.environ | {"PYTHONPATH": str(PACKAGE), "PATH": search},
        input=SAY,
        capture_output=True,
        text=True,
        check=False,
    )
    if way == "nothing":
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("say nothing is neither a file nor a command on PATH")
        return
    name = {"code": "-c", "command": str(command)}.get(way, arguments[0])
    assert done.stdout == f"0.17.3 {[name, 'x']} __main__\n", done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["link"], ["0.14.6"], ["0.14.6", "-c"], ["unlink", "now"]]
)
def test_wrong_command_line(arguments):
    done = _python("-m", "natten_mps.compat", *arguments, check=False)
    assert done.returncode == 2
    assert "usage:" in done.stderr
