# SPDX-License-Identifier: MIT
"""Names, signatures and defaults of every released NATTEN against what its source has.

tests/golden/make_names.py recorded the releases; released_names.py imports what is served.
"""

import inspect
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from natten_mps.compat import _adapt, _served, for_version
from natten_mps.compat._common.capabilities import has_compiled_kernels

FOLDER = Path(__file__).parent
VERSIONS = [str(version) for version in _served.versions()]

# "module name" or "module" that a release has and that is not served; each must say why. Every
# entry must be in use.
UNSERVED = (
    r"natten\._libnatten\b.*",  # the extension's functions
    r"natten\.\S+ libnatten",
    r"natten\.profil.*",  # measures CUDA kernels
    r"natten\.backends\.(configs\.)?(cutlass|hopper|blackwell).*",
    r"natten\.token_permute\.cutlass_impl",
    r"natten\.\S+ .*([cC]utlass|[hH]opper|[bB]lackwell).*",
    r"natten\.backends\.(fna|fmha) .*",
    r"natten\.autotuner\.configs.*",
    r"natten\.autotuner\S* (ConfigT|FNA_.*|Fna.*|initialize_.*|run_.*|get_m(ax|in)_splits)",
    r"natten\.experimental (FlopCountFn|custom_mapping|na\dd_(op_fake|torch_lib.*|flop_count))",
    r"natten\.\S+ (amp_fwd|amp_bwd|torch_ver|log_or_raise_error)",
    r"natten\.\S+ (get_(na_)?flex_(mask|attention_\w+)|run_flex_attn|idx2crd)",
    r"natten\.backends\.reference (\w+Autograd\w+|make_\w+|reference_\w+_(for|back)ward)",
    r"natten\.\S+ (maybe_torch_compile|merge_attentions_(compile|fn)|MergeAttentionsAutogradFn)",
    r"natten\.token_permute\S* (DISABLE_PADDING_WARNING|TOKEN_PERMUTE_PADDING\w+)",
)

# Names that are served in addition to those of a release.
MORE = {
    "0.17.5": {
        f"natten.functional natten{rank}d{kind}"  # 0.17.0 to 0.17.4 had it
        for rank in (1, 2, 3)
        for kind in ("qk", "qkrpb", "av")
    },
} | {  # upstream's own tests use it
    version: {"natten.utils.log _get_log_pipe"} for version in VERSIONS if version >= "0.21"
}


def _ask(*arguments):
    command = [sys.executable, FOLDER / "released_names.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def reports():
    return _ask()


@pytest.mark.parametrize("version", VERSIONS)
def test_names_and_signatures(reports, version):
    report = reports[version]
    assert report["differences"] == []
    assert set(report["more"]) == MORE.get(version, set())
    unlisted = [u for u in report["unserved"] if not any(re.fullmatch(p, u) for p in UNSERVED)]
    assert unlisted == []
    assert all("is not served by natten-mps: " in text for text in report["unserved"].values())
    assert report["names"] >= {"0.14": 23, "0.15": 100, "0.17": 313, "0.20": 336}.get(
        version[:4], 379
    )


def test_every_listed_pattern_is_in_use(reports):
    unserved = {name for report in reports.values() for name in report["unserved"]}
    assert [p for p in UNSERVED if not any(re.fullmatch(p, name) for name in unserved)] == []


def test_all_releases_are_recorded(reports):
    assert VERSIONS[0] == "0.14.2.post4"
    assert VERSIONS[-1] == "0.21.7"
    assert list(reports) == VERSIONS
    assert len(VERSIONS) == 18


OLDER_FORMS = """
import torch, natten
from natten.functional import natten2dav, natten2dqkrpb
from natten_mps.compat import v014
q, rpb = torch.randn(1, 2, 7, 8, 4), torch.randn(2, 5, 5)
a = natten2dqkrpb(q, q, rpb, 2)
assert torch.equal(a, v014.functional.natten2dqkrpb(q, q, rpb, 3, 2))
out = natten2dav(attn=a, value=q, dilation=2)
assert torch.equal(out, v014.functional.natten2dav(a, q, 3, 2))
out = natten.functional.NATTEN2DAVFunction.apply(a, q, 2)
assert torch.equal(out, v014.functional.natten2dav(a, q, 3, 2))
layer = natten.NeighborhoodAttention(8, 3, 2)
assert (layer.kernel_size, layer.num_heads, layer.dilation) == (3, 2, 1)
assert layer(torch.randn(1, 5, 6, 8)).shape == (1, 5, 6, 8)
natten2dav(a, q, 3, 2)
"""
TUNED = """
import torch
from natten.functional import FusedNeighborhoodAttention2D, autotune_fna, na2d
q = torch.randn(1, 6, 6, 2, 8)
tiles = autotune_fna(2, q, 3, 1, False)
out = FusedNeighborhoodAttention2D.apply(q, q, q, None, 3, 1, False, 0.5, *tiles)
print(torch.allclose(out, na2d(q, q, q, 3, scale=0.5)))
"""
ROWS = [
    ("0.17.5", "from natten import libnatten", "ImportError: .*the compiled extension"),
    ("0.17.1", "import natten.libnatten", "ImportError: .*natten.functional has the op"),
    ("0.20.1", "from natten.functional import na2d_qk",
     "ImportError: .*has no na2d_qk; releases from 0.15.0 to 0.17.5 have it"),
    ("0.21.7", "import natten; natten.has_cuda", "AttributeError: .*from 0.15.0 to 0.17.5"),
    ("0.21.7", "from natten.backends.fna import na2d_cutlass_fna", "ImportError: .*CUDA"),
    ("0.21.6", "import natten.profiler", "ImportError: .*natten_mps bench"),
    ("0.15.1", "import natten; print(hasattr(natten, 'context'))", "False"),
    ("0.15.1", "import natten.context", "ModuleNotFoundError: No module named"),
    ("0.17.1", "import natten.experimental", "ModuleNotFoundError: No module named"),
    ("0.17.0", "from natten.types import CausalArg1DTypeOrDed", "ImportError: .*from 0.17.1 to"),
    ("0.17.1", TUNED, "True"),
    ("0.14.4", OLDER_FORMS, r"TypeError: natten2dav\(\) takes 3 arguments, got 4"),
]  # fmt: skip


@pytest.fixture(scope="module")
def answers():
    return _ask(json.dumps([row[:2] for row in ROWS]))


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_one_release(answers, row):
    """Missing names raise an error; older call forms work; 0.17.0 to 0.17.5 have a tuner."""
    assert re.match(ROWS[row][2], answers[row]), answers[row]


def test_arguments_go_over_by_name():
    def function(query, key, value, scale=None, size=1):
        return query, key, value, scale, size

    less = _adapt.to_signature(function, "less", "(query, value, scale=2, size=None)")
    assert less(1, 2) == (1, None, 2, 2, None)
    assert less(1, value=3, size=4) == (1, None, 3, 2, 4)
    one = _adapt.to_signature(function, "one", "(input_tensor, size=1)")
    assert one(7) == (7, 7, 7, None, 1)
    assert str(inspect.signature(one)) == "(input_tensor, size=1)"
    for call in (lambda: less(), lambda: less(1, 2, 3, 4, 5), lambda: less(1, 2, value=2),
                 lambda: less(1, 2, key=2)):  # fmt: skip
        with pytest.raises(TypeError, match="less"):
            call()
    with pytest.raises(LookupError, match="unknown"):
        _adapt.to_signature(function, "f", "(query, key, value, unknown)")


def test_libnatten_is_this_package_s_library(monkeypatch, tmp_path):
    """If it is False, programs refuse to start, or take their own slow path."""
    assert for_version("0.20.1").HAS_LIBNATTEN is True
    assert for_version("0.21.7").HAS_LIBNATTEN is True
    monkeypatch.setenv("NATTEN_MPS_LIBRARY", str(tmp_path / "missing.so"))
    assert not has_compiled_kernels()


@pytest.mark.parametrize("version", ["0.14.6", "0.15.1", "0.17.5", "0.20.1", "0.21.7"])
def test_literal_path(version):
    """The generation's package has its newest release, and submodules without files."""
    shim = for_version(version)
    assert shim.__version__ == version
    assert inspect.ismodule(shim.functional)
    assert hasattr(shim, "context") == (version >= "0.17")
    assert hasattr(shim, "HAS_LIBNATTEN") == (version >= "0.20")
    assert inspect.ismodule(getattr(shim, "na2d", None)) == (version == "0.17.5")
    if version >= "0.15":
        assert shim.utils.tensor.__name__ == f"{shim.__name__}.utils.tensor"
        assert set(shim.__all__) <= vars(shim).keys()


@pytest.mark.parametrize(
    ("pipe", "kind"),
    [
        (None, logging.StreamHandler),
        ("stderr", logging.StreamHandler),
        ("log", logging.FileHandler),
        (os.devnull, logging.NullHandler),
        ("no such folder/log", logging.NullHandler),
    ],
)
def test_where_021_logs(pipe, kind, tmp_path, monkeypatch):
    """A path that cannot be written turns the logger off and raises no error."""
    monkeypatch.delenv("NATTEN_LOG_PIPE", raising=False)
    if pipe is not None:
        path = str(tmp_path / pipe) if pipe.endswith("log") else pipe
        monkeypatch.setenv("NATTEN_LOG_PIPE", path)
    log = for_version("0.21.7").utils.log
    logger = log.NattenLogger(f"{__name__}.{pipe}")
    assert type(logger.handler) is kind
    assert logger.handler.formatter is logger.formatter or kind is logging.NullHandler
    assert logger.log_level == logging.INFO
    logger.warning("said")
    logger.handler.close()
    if pipe == "log":
        assert "said" in (tmp_path / pipe).read_text()
        assert log._get_log_pipe() == path
