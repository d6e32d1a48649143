# SPDX-License-Identifier: MIT
"""Names, signatures and defaults of each generation against tests/golden/api-VERSION.json."""

import importlib
import inspect
import json
from pathlib import Path

import pytest

from natten_mps.compat import for_version
from natten_mps.compat._common.capabilities import has_compiled_kernels

GOLDEN = Path(__file__).parent.parent / "golden"
VERSIONS = ("0.14.6", "0.15.1", "0.17.5", "0.20.1", "0.21.7")

CUDA = "names a CUDA kernel, and there are none"
INTERNAL = "a part of upstream's machinery, not of its interface"
DEVICE = "any device index is accepted and ignored"
COMPILE = "only wraps torch.compile round a private function"

# What a shim lacks or has otherwise: (module, name) or a module, and why. Every entry must be in
# use, see below.
DIFFERENT = {
    "0.17.5": {
        "natten.autotuner": INTERNAL,
        "natten.libnatten": "the compiled extension, whose calls write into buffers",
        ("natten.flex", "get_na_flex_mask"): "a mask object for one private call of torch's",
    },
    "0.20.1": {
        ("natten.attn_merge", "maybe_torch_compile"): COMPILE,
        ("natten.attn_merge", "merge_attentions_compile"): COMPILE,
        ("natten.attn_merge", "merge_attentions_fn"): COMPILE,
        ("natten.utils.checks", "log_or_raise_error"): INTERNAL,
        ("natten.utils.device", "get_device_cc"): DEVICE,
        ("natten.utils.log", "LogLevel"): INTERNAL,
    },
    "0.21.7": {
        ("natten.utils.checks", "log_or_raise_error"): INTERNAL,
        ("natten.utils.device", "get_device_cc"): DEVICE,
        ("natten.utils.log", "LogLevel"): INTERNAL,
        ("natten.utils.log", "NattenLogger"): INTERNAL,
    },
}

# What a shim has beyond the golden file.
OLDER_NAMES = "0.17.0 to 0.17.4 had it"
MORE = {
    "0.17.5": {
        ("natten.functional", f"natten{rank}d{kind}"): OLDER_NAMES
        for rank in (1, 2, 3)
        for kind in ("qk", "qkrpb", "av")
    },
}


def _is_cuda(name):
    return any(word in name for word in ("cutlass", "hopper", "blackwell"))


def _listed(version, module, name):
    table = DIFFERENT.get(version, {})
    if module == "natten.backends" and _is_cuda(name) and "configs" not in name:
        return CUDA
    if module == "natten.backends.reference" and "autograd" in name.lower():
        return CUDA
    if module == "natten.functional" and version >= "0.20":
        own = ("na1d", "na2d", "na3d", "attention", "merge_attentions")
        if name not in (*own, "neighborhood_attention_generic"):
            return "imported there for its own use"
    return table.get((module, name), table.get(module))


def _module(version, name):
    return importlib.import_module(for_version(version).__name__ + name.removeprefix("natten"))


def _signature(value):
    return [
        p.name if p.default is inspect.Parameter.empty else f"{p.name}={p.default!r}"
        for p in inspect.signature(value).parameters.values()
    ]


def _differences(version, module, names):
    try:
        shim = _module(version, module)
    except ModuleNotFoundError:
        yield module, None, "no such module"
        return
    for name, wanted in names.items():
        if not hasattr(shim, name):
            yield module, name, "missing"
        elif wanted is not None and _signature(getattr(shim, name)) != wanted:
            yield module, name, f"{_signature(getattr(shim, name))} instead of {wanted}"


def _golden(version):
    return json.loads((GOLDEN / f"api-{version}.json").read_text())


@pytest.mark.parametrize("version", VERSIONS)
def test_names_and_signatures(version):
    unlisted, used = [], set()
    for module, names in _golden(version).items():
        for where, name, what in _differences(version, module, names):
            if _listed(version, where, name or "") is None:
                unlisted.append((where, name, what))
            used |= {(where, name), where}
    assert unlisted == []
    assert set(DIFFERENT.get(version, {})) <= used, "a listed difference is none"


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_more(version):
    """Functions and classes that the functional module defines are upstream's."""
    shim = _module(version, "natten.functional")
    own = {
        name
        for name, value in vars(shim).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == shim.__name__
    }
    more = own - _golden(version)["natten.functional"].keys()
    assert {("natten.functional", name) for name in more} == set(MORE.get(version, {}))


@pytest.mark.parametrize("version", VERSIONS)
def test_star_import_is_as_upstream(version):
    shim = for_version(version)
    if version == "0.14.6":
        assert not hasattr(shim, "__all__")
        return
    names = set(_golden(version)["natten"]) - ({"__version__"} if version == "0.15.1" else set())
    assert set(shim.__all__) == names


def test_context_is_what_nat_looks_for():
    """NAT and DiNAT tell 0.17 by it."""
    present = {v: hasattr(for_version(v), "context") for v in VERSIONS}
    assert present == {v: v >= "0.17" for v in VERSIONS}


def test_libnatten_is_this_package_s_library(monkeypatch, tmp_path):
    """Programs refuse to start, or take a slow path of their own, where it is False."""
    assert for_version("0.20.1").HAS_LIBNATTEN is True
    assert for_version("0.21.7").HAS_LIBNATTEN is True
    monkeypatch.setenv("NATTEN_MPS_LIBRARY", str(tmp_path / "missing.so"))
    assert not has_compiled_kernels()


@pytest.mark.parametrize("version", VERSIONS)
def test_functional_is_reachable_from_the_package(version):
    shim = for_version(version)
    assert inspect.ismodule(shim.functional)
    assert hasattr(shim, "HAS_LIBNATTEN") == (version >= "0.20")
    assert inspect.ismodule(getattr(shim, "na2d", shim)) == (version < "0.20")
