# SPDX-License-Identifier: MIT
"""Whole models that are saved with this package and loaded where only upstream is installed."""

import copy
import importlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from natten_mps.compat import for_version

FOLDER = Path(__file__).parent
VERSIONS = ("0.14.4", "0.14.6", "0.15.1", "0.17.1", "0.17.5", "0.20.0", "0.20.1", "0.21.7")
SAVE = """
import natten, torch
torch.save(torch.nn.Sequential(natten.NeighborhoodAttention2D({arguments})), {path!r})
"""
ARGUMENTS = {"0.14.4": "8, 3, 2", "0.20.0": "dim=8, num_heads=2, kernel_size=3"}
STUB = "import torch\nclass NeighborhoodAttention2D(torch.nn.Module):\n    upstream = True\n"
LOAD = """
import sys, torch
sys.modules["natten_mps"] = None
for path in sys.argv[1:]:
    layer = torch.load(path, weights_only=False)[0]
    assert type(layer).upstream, path
    assert (layer.num_heads, layer.head_dim, layer.qkv.in_features) == (2, 4, 8), path
"""


@pytest.fixture(scope="module")
def pickles(tmp_path_factory):
    """{version: file}, under the name `natten`."""
    folder = tmp_path_factory.mktemp("pickles")
    files = {version: str(folder / f"{version}.pt") for version in VERSIONS}
    rows = [
        [v, SAVE.format(arguments=ARGUMENTS.get(v, "8, 2, 3"), path=p)] for v, p in files.items()
    ]
    command = [sys.executable, FOLDER / "released_names.py", json.dumps(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == [""] * len(rows), done.stdout + done.stderr
    return files


@pytest.fixture
def only_upstream(tmp_path, monkeypatch):
    """A folder with the modules of every upstream release that define layers."""
    package = tmp_path / "natten"
    package.mkdir()
    for module in ("__init__", "natten2d", "na2d", "modules"):
        (package / f"{module}.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path)]))


def _loads(paths):
    command = [sys.executable, "-c", LOAD, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_saved_as_natten(pickles, only_upstream):
    _loads(pickles.values())


def test_saved_under_a_generation_s_path(tmp_path, only_upstream):
    paths = []
    for version in VERSIONS:
        paths.append(tmp_path / f"{version}.pt")
        layer = for_version(version).NeighborhoodAttention2D(8, 2, 3)
        torch.save(torch.nn.Sequential(layer), paths[-1])
    _loads(paths)


@pytest.mark.parametrize("version", ["0.14.6", "0.15.1", "0.17.5", "0.20.1", "0.21.7"])
def test_copies_stay_here(version):
    """Copies work, and pickles of subclasses and of the classes, as for any layer."""
    layer = for_version(version).NeighborhoodAttention2D(8, 2, 3)
    x = torch.randn(1, 5, 5, 8)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        loaded = pickle.loads(pickle.dumps(layer, protocol))
        assert type(loaded) is type(layer)
        assert torch.equal(loaded(x), layer(x))
    for copied in (copy.copy(layer), copy.deepcopy(layer)):
        assert type(copied) is type(layer)
        assert torch.equal(copied(x), layer(x))
    assert pickle.loads(pickle.dumps(type(layer))) is type(layer)
    own = type("Own", (type(layer),), {"__module__": __name__})
    globals()["Own"] = own
    assert type(pickle.loads(pickle.dumps(own(8, 2, 3)))) is own


NAMES = """
import pickle, types
def check(*modules):
    for module in modules:
        for name, value in list(vars(module).items()):
            if isinstance(value, (types.FunctionType, type)) and not name.startswith("_"):
                assert pickle.loads(pickle.dumps(value)) is value, name
"""


@pytest.mark.parametrize("version", ["0.15.1", "0.20.1", "0.21.7"])
def test_functions_and_classes_pickle_by_name(version):
    """A model may hold a function, and processes send them to each other."""
    code = NAMES + "import natten, natten.functional\ncheck(natten, natten.functional)"
    command = [sys.executable, "-m", "natten_mps.compat", version, "-c", code]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("version", ["0.14.6", "0.15.1", "0.17.5", "0.20.1", "0.21.7"])
def test_operations_of_a_generation_s_path_pickle_by_name(version):
    shim = for_version(version)
    found = 0
    for module in (shim, shim.functional, importlib.import_module(shim.__name__)):
        for name, value in list(vars(module).items()):
            public = name.startswith(("na", "Neighborhood")) and callable(value)
            if public and not isinstance(value, ModuleType):
                assert pickle.loads(pickle.dumps(value)) is value, name
                found += 1
    assert found > 8


def test_a_layer_pickled_by_an_older_release():
    """0.20.0 has no embed_dim, and layers before 0.17.4 no use_experimental_ops."""
    layer = for_version("0.20.1").NeighborhoodAttention2D(8, 2, 3)
    state = {k: v for k, v in vars(layer).items() if k not in ("embed_dim",)}
    del state["expected_input_tensor_rank"]
    older = object.__new__(type(layer))
    older.__setstate__(state)
    x = torch.randn(1, 5, 5, 8)
    assert torch.equal(older(x), layer(x))
    layer = for_version("0.17.5").NeighborhoodAttention2D(8, 2, 3)
    del layer.use_experimental_ops
    assert layer(x).shape == x.shape
