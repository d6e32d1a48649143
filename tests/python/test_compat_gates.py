# SPDX-License-Identifier: MIT
"""What a program may check about the module and distribution `natten` before it uses it."""

import textwrap

import pytest
from test_compat_children import output

# One expression per line; each must be true. One process per version, since starting costs seconds.
QUESTIONS = """
find_spec("natten").origin == natten.__file__
Path(natten.__file__).is_file()
Path(natten.functional.__file__).is_file()
all(not Path(entry).exists() for entry in natten.__path__)
find_spec("natten.functional").loader is not None
find_spec("natten._modules") is None
find_spec("natten.nothing") is None
"functional" in {m.name for m in pkgutil.iter_modules(natten.__path__)}
"natten.functional" in {m.name for m in pkgutil.walk_packages(natten.__path__, "natten.", print)}
not any(m.name.split(".")[-1].startswith("_mod") for m in pkgutil.iter_modules(natten.__path__))
inspect.getmodule(natten.NeighborhoodAttention1D).NeighborhoodAttention1D
natten.NeighborhoodAttention1D.__module__ in sys.modules
"class NeighborhoodAttention1D" in inspect.getsource(natten.NeighborhoodAttention1D)
"SPDX" in inspect.getsource(natten.functional)
pydoc.render_doc(natten)
Path(inspect.getfile(natten)).is_file()
importlib.resources.files("natten") is not None
metadata.version("NATTEN") == VERSION == natten.__version__
metadata.metadata("natten")["Name"] == "natten"
metadata.requires("natten") is None
all(Path(file.locate()).is_file() for file in metadata.files("natten"))
metadata.files("natten")
Path(metadata.distribution("natten").locate_file("")).is_dir()
metadata.packages_distributions()["natten"] == ["natten"]
[d.metadata["Name"] for d in metadata.distributions()].count("natten") == 1
parse(natten.__version__) in SpecifierSet(f"=={VERSION}")
[int(part) for part in natten.__version__.split("+")[0].split(".")]
importlib.reload(natten).__version__ == VERSION
importlib.reload(natten.functional) is sys.modules["natten.functional"]
copy.deepcopy(natten.NeighborhoodAttention1D) is natten.NeighborhoodAttention1D
mock.create_autospec(natten.functional)
hasattr(natten, "functional") and not hasattr(natten, "nothing")
sys.modules.pop("natten") and importlib.import_module("natten").__version__ == VERSION
"""

PROGRAM = """
import copy, importlib.resources, inspect, pkgutil, pydoc, sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from unittest import mock
from packaging.specifiers import SpecifierSet
from packaging.version import parse
from natten_mps.compat import activate

VERSION = sys.argv[1]
activate(VERSION)
import natten, natten.functional
for question in sys.argv[2].strip().splitlines():
    try:
        if not eval(question):
            print("no:", question)
    except Exception as error:
        print(f"{question}: {error!r}")
print("asked")
"""


@pytest.mark.parametrize("version", ["0.14.6", "0.17.5", "0.21.7"])
def test_questions(version, tmp_path):
    shown = output(
        "-W", "ignore", "-c", textwrap.dedent(PROGRAM), version, QUESTIONS, folder=tmp_path
    )
    assert shown == "asked\n"
