# SPDX-License-Identifier: MIT
"""`python -m natten_mps.compat scan`: small projects, each with what has to be said of it."""

import json
import textwrap

import pytest

from natten_mps.compat.__main__ import main

# name: (files, exit status, what the report contains, what it does not contain)
PROJECTS = {
    "split with bias": (
        {
            "model.py": """
                from natten.functional import natten2dav, natten2dqkrpb as qk
                def attend(q, k, v, rpb):
                    return natten2dav(qk(q, k, rpb, 7, 1).softmax(-1), v, 7, 1)
                """
        },
        0,
        ["1 of 1 Python files", "0.14.6 to 0.17.4", "natten2dav, natten2dqkrpb", "compat 0.17.4"],
        ["missing", "not served", "gates"],
    ),
    "signature of 0.14.4": (
        {
            "model.py": """
                import natten
                logits = natten.functional.natten2dqkrpb(q, k, rpb, dilation=2)
                """
        },
        0,
        ["0.14.2.post4 to 0.14.4"],
        [],
    ),
    "a pin decides between releases that fit": (
        {
            "model.py": "from natten.functional import natten1dav\n",
            "requirements.txt": "torch\nnatten==0.14.6+torch200cu118\n",
        },
        0,
        ["requirements.txt: natten==0.14.6", "compat 0.14.6"],
        [],
    ),
    "imports by a function": (
        {
            "model.py": """
                natten = OptionalImport("natten")
                split = importlib.import_module("natten.functional")
                def attend(q):
                    return natten.functional.na2d(split.na2d_qk(q, q, 3, 1), q, q, kernel_size=3)
                """
        },
        0,
        ["0.17.0 to 0.17.5", "na2d, na2d_qk", 'OptionalImport("natten")  model.py:2'],
        ["missing"],
    ),
    "behind a question about the version": (
        {
            "model.py": """
                def ragged(q):
                    if not natten_version_satisfies("0.21.6.dev1"):
                        raise RuntimeError("upgrade NATTEN")
                    from natten.varlen import configure_varlen
                    return configure_varlen(q)
                def natten_supported():
                    return torch.cuda.is_available() and natten_version_satisfies("0.20")
                async def plain(q):
                    from natten import na2d
                    return na2d(q, q, q, 3, stride=2)
                """
        },
        0,
        [
            "0.20.0 to 0.21.7",
            "does without  natten.varlen.configure_varlen is not in NATTEN",
            "torch.cuda.is_available() in natten_supported  model.py:8",
        ],
        ["missing"],
    ),
    "two generations behind a try": (
        {
            "model.py": """
                try:
                    from natten.functional import na2d_qk, na2d_av
                except ImportError:
                    from natten.functional import natten2dqk as na2d_qk, natten2dav as na2d_av
                """
        },
        0,
        ["runs"],
        ["missing"],
    ),
    "context decides": (
        {
            "model.py": """
                import natten
                flags = {"rel_pos_bias": True} if hasattr(natten, "context") else {"bias": True}
                if natten.has_fused_na():
                    out = natten.functional.na2d(q, k, v, 7, scale=1.0)
                """
        },
        0,
        ["natten.has_fused_na  model.py:4", "hasattr(natten, 'context')", "compat 0.17"],
        [],
    ),
    "new generation with stride": (
        {
            "a/model.py": "import natten as nt\nnt.na3d(q, k, v, kernel_size=3, stride=2)\n",
            "a/check.py": "from natten import HAS_LIBNATTEN\nassert HAS_LIBNATTEN\n",
        },
        0,
        ["2 of 2", "0.20.0 to 0.21.7", "natten.HAS_LIBNATTEN  a/check.py:1", "compat 0.21.7"],
        [],
    ),
    "names that no release has together": (
        {"model.py": "from natten.functional import natten2dqkrpb, attention\n"},
        1,
        ["missing", "no release of NATTEN has all of this"],
        ["runs"],
    ),
    "files of two generations": (
        {
            "old.py": """
                from natten import NeighborhoodAttention1D as Attention
                layer = Attention(64, num_heads=2, kernel_size=7, attn_drop=0.1)
                """,
            "new/demo.py": "from natten import na1d\nna1d(q, k, v, kernel_size=7)\n",
            "new/fork.py": "from natten import NeighAttnMat\n",
            "apart.py": "import torch\n",
        },
        1,
        [
            "by file       new/demo.py: NATTEN 0.20.0 to 0.21.7",
            "              old.py: NATTEN 0.14.2.post4 to 0.17.5",
            "              new/fork.py: no release",
            "no release of NATTEN has all of this",
        ],
        ["apart.py"],
    ),
    "one file of a fork": (
        {
            "fork.py": "from natten import NeighAttnMat\n",
            "also.py": "from natten import NeighAttnMat\n",
        },
        1,
        ["natten.NeighAttnMat is not in NATTEN"],
        ["by file"],
    ),
    "what is not served": (
        {"model.py": "import natten\nfrom natten import profiler\nprofiler.main()\n"},
        1,
        ["not served", "natten.profiler: it measures CUDA kernels"],
        ["runs"],
    ),
    "arguments that none takes": (
        {"model.py": "import natten\nnatten.na2d(q, k, v, 7, magic=True)\n"},
        1,
        ["natten.na2d(4 by position, magic) does not fit NATTEN 0.21.7"],
        [],
    ),
    "the hub's kernel": (
        {"model.py": "from kernels import get_kernel\nna = get_kernel('shi-labs/natten').na3d\n"},
        0,
        ['get_kernel("shi-labs/natten")  model.py:2', "compat 0.21.7"],
        [],
    ),
    "only a question": (
        {"model.py": "import importlib.util\nFOUND = importlib.util.find_spec('natten')\n"},
        0,
        ['find_spec("natten")', "any version will do"],
        [],
    ),
    "nothing": (
        {"model.py": "unattended = 1\n", "env/lib.py": "import natten\n"},
        0,
        ["0 of 1 Python files", "natten is not used"],
        [],
    ),
    "Python 2 and other trouble": (
        {
            "old.py": "import natten\nprint 'natten'\n",
            "empty.ipynb": "",
            "bytes.py": "\ufeffimport natten\n",
        },
        0,
        ["not Python 3  old.py", "1 of 2"],
        [],
    ),
}


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


@pytest.mark.parametrize("name", PROJECTS)
def test_project(name, tmp_path, capsys):
    files, status, has, has_not = PROJECTS[name]
    write(tmp_path, files)
    assert main(["scan", str(tmp_path)]) == status
    report = capsys.readouterr().out
    for text in has:
        assert text in report, report
    for text in has_not:
        assert text not in report, report
    assert len(report.splitlines()) < 40, "one screen"


def test_notebook(tmp_path, capsys):
    cells = [
        {"cell_type": "markdown", "source": ["import nothing"]},
        {
            "cell_type": "code",
            "source": ["%pip install natten\n", "from natten import na2d\n", "na2d(q, k, v, 3)"],
        },
    ]
    (tmp_path / "demo.ipynb").write_text(json.dumps({"cells": cells}))
    assert main(["scan", str(tmp_path)]) == 0
    assert "0.20.0 to 0.21.7" in capsys.readouterr().out


def test_a_file_and_a_folder_that_is_not_there(tmp_path, capsys):
    path = tmp_path / "one.py"
    path.write_text("import natten\nnatten.na1d(q, k, v, 3)\n")
    assert main(["scan", str(path)]) == 0
    assert "1 of 1" in capsys.readouterr().out
    assert main(["scan", str(tmp_path / "gone")]) == 2
    assert "does not exist" in capsys.readouterr().err
