# SPDX-License-Identifier: MIT
"""The active version of `natten` in the processes that a program starts."""

import os
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "python"

# Starts a child in each way and prints the version that the child sees.
WAYS = """
    import concurrent.futures, multiprocessing, os, subprocess, sys

    def served():
        import importlib.metadata, importlib.util
        found = importlib.util.find_spec("natten") is not None
        return importlib.metadata.version("natten") if found else None

    if __name__ == "__main__":
        ways = {}
        for method in multiprocessing.get_all_start_methods():
            context = multiprocessing.get_context(method)
            with context.Pool(1) as pool:
                ways[method] = pool.apply(served)
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                ways["futures " + method] = pool.submit(served).result()
        def said(*command, **options):
            return subprocess.check_output(command, text=True, **options).strip()
        command = [sys.executable, "-c", "import ways; print(ways.served())"]
        ways["subprocess"] = said(*command)
        nested = "import subprocess; print(subprocess.check_output({!r}, text=True))"
        ways["grandchild"] = said(sys.executable, "-c", nested.format(command))
        ways["environment"] = said(*command, env=dict(os.environ, OTHER="1"))
        assert os.posix_spawn(sys.executable, command, os.environ) and os.wait()[1] == 0
        for way, answer in ways.items():
            assert answer == "0.17.3", (way, answer)
        print(len(ways), "ways")
        sys.stdout.flush()
        os.execv(sys.executable, command)
"""


def python(*arguments, folder, path=(), **variables):
    paths = os.pathsep.join(map(str, (*path, PACKAGE)))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths} | variables
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=folder
    )


def output(*arguments, folder, **options):
    done = python(*arguments, folder=folder, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder, name, text):
    path = folder / name
    path.write_text(textwrap.dedent(text))
    return path


def test_every_way_to_start_a_child(tmp_path):
    script = write(tmp_path, "ways.py", WAYS)
    lines = output("-m", "natten_mps.compat", "0.17.3", script, folder=tmp_path).splitlines()
    assert int(lines[-2].split()[0]) >= 7
    assert lines[-1] == "0.17.3"


def test_children_of_a_program_that_activates_itself(tmp_path):
    """As in a notebook: the child does not run the line that activates."""
    write(
        tmp_path,
        "data.py",
        """
        import natten
        class Version:
            def __getitem__(self, index):
                return natten.__version__
            def __len__(self):
                return 2
        """,
    )
    script = write(
        tmp_path,
        "notebook.py",
        """
        if __name__ == "__main__":
            from natten_mps.compat import activate
            activate("0.15.1")
            from data import Version
            from torch.utils.data import DataLoader
            loader = DataLoader(Version(), num_workers=2, multiprocessing_context="spawn")
            print([batch[0] for batch in loader])
        """,
    )
    assert output(script, folder=tmp_path) == "['0.15.1', '0.15.1']\n"


@pytest.mark.slow
def test_torchrun_and_multiprocessing_spawn(tmp_path):
    write(tmp_path, "worker.py", "import natten; print(natten.__version__)\n")
    spawn = write(
        tmp_path,
        "spawn.py",
        """
        import torch.multiprocessing
        def work(rank):
            import natten
            print(natten.__version__)
        if __name__ == "__main__":
            torch.multiprocessing.spawn(work, nprocs=2)
        """,
    )
    start = ["-m", "natten_mps.compat", "0.17.5"]
    assert output(*start, spawn, folder=tmp_path).split() == ["0.17.5"] * 2
    run = [*start, "-m", "torch.distributed.run", "--nproc_per_node", "2", "worker.py"]
    assert output(*run, folder=tmp_path).split() == ["0.17.5"] * 2


def test_a_call_overrules_what_a_child_was_given(tmp_path):
    code = """
        import subprocess, sys
        from natten_mps.compat import activate
        activate("0.17.5")
        child = ("from natten_mps.compat import activate; activate('0.14.6');"
            "import importlib.metadata; print(importlib.metadata.version('natten'))")
        print(subprocess.check_output([sys.executable, "-c", child], text=True))
    """
    assert output("-c", textwrap.dedent(code), folder=tmp_path).split() == ["0.14.6"]


def test_another_sitecustomize_still_runs(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write(other, "sitecustomize.py", "import sys; sys.customized = __file__\n")
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}], check=True)"
    child = (
        "import importlib.metadata, sitecustomize, sys;"
        "print(importlib.metadata.version('natten'), sys.customized)"
    )
    script = write(tmp_path, "parent.py", code.format(child))
    shown = output("-m", "natten_mps.compat", "0.20.1", script, folder=tmp_path, path=[other])
    assert shown.split() == ["0.20.1", str(other / "sitecustomize.py")]


def test_a_version_that_a_child_cannot_serve(tmp_path):
    startup = PACKAGE / "natten_mps/compat/_startup"
    done = python(
        "-c", "print('runs')", folder=tmp_path, path=[startup], NATTEN_MPS_COMPAT="nonsense"
    )
    assert done.stdout == "runs\n"
    assert done.stderr.startswith("NATTEN_MPS_COMPAT='nonsense' is without effect: ")


def test_an_interpreter_without_natten_mps(tmp_path):
    venv.create(tmp_path / "bare", symlinks=True)
    startup = PACKAGE / "natten_mps/compat/_startup"
    environment = {"PYTHONPATH": str(startup), "NATTEN_MPS_COMPAT": "0.17.5"}
    command = [tmp_path / "bare/bin/python", "-c", "import sitecustomize; print('runs')"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("runs\n", "")
