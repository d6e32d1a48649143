# SPDX-License-Identifier: MIT
"""Every recorded case of upstream NATTEN, through the shims' own public functions.

tests/golden/natten-VERSION.npz holds what that version computed on a CPU: `meta` (JSON)
lists the cases, and arrays are named `case/tensor`. 0.14 to 0.17 ran in float64 and 0.20
and 0.21 in float32; all is stored in float32. On the GPU, which has no float64, everything runs in
float32.
"""

import json
from functools import cache
from pathlib import Path

import numpy
import pytest
import torch

from natten_mps import backend, compat

GOLDEN = Path(__file__).parent.parent / "golden"

# Largest difference allowed, relative to the array's largest value: the rounding of the recorded
# inputs to float32 and, for 0.20 and 0.21, float32 arithmetic on both sides.
TOLERANCE = {"0.14.6": 2e-5, "0.15.1": 2e-5, "0.17.5": 2e-5, "0.20.1": 1e-4, "0.21.6": 1e-4}

# Recorded cases that are not run, as (version, case): reason.
LEFT_OUT: dict[tuple[str, str], str] = {}


@cache
def _archive(version):
    return dict(numpy.load(GOLDEN / f"natten-{version}.npz"))


def _cases(version):
    return json.loads(bytes(_archive(version)["meta"]).decode())["cases"]


def _tuples(params):
    return {name: tuple(v) if isinstance(v, list) else v for name, v in params.items()}


def _in_float32(version):
    return backend.get_backend() == "metal" or TOLERANCE[version] == 1e-4


def _dtype(version):
    return torch.float32 if _in_float32(version) else torch.float64


def _tensors(version, case):
    prefix, archive = case["id"] + "/", _archive(version)
    return {
        name: torch.from_numpy(archive[prefix + name]).to(_dtype(version))
        for name in case["arrays"]
    }


class _Leaves(dict):
    """The recorded inputs of a case; those with a recorded gradient require one."""

    def __init__(self, recorded):
        super().__init__()
        self.recorded = recorded

    def __missing__(self, name):
        leaf = self.recorded.get(name)
        if leaf is not None and f"d{name}" in self.recorded:
            leaf = leaf.clone().requires_grad_()
        self[name] = leaf
        return leaf


def _split_014(functions, params, t):
    rank, window = params["rank"], (params["kernel_size"], params["dilation"])
    qk = getattr(functions, f"natten{rank}dqkrpb")
    logits = qk(t["q"], t["k"], t["rpb"], *window)
    return {
        "logits": logits,
        "out": getattr(functions, f"natten{rank}dav")(logits.softmax(-1), t["v"], *window),
    }


def _split_015(functions, params, t):
    rank, window = params["rank"], params["args"]
    qk = getattr(functions, f"na{rank}d_qk_with_bias")
    logits = qk(t["q"], t["k"], t["rpb"], *window)
    return {
        "logits": logits,
        "out": getattr(functions, f"na{rank}d_av")(logits.softmax(-1), t["v"], *window),
    }


def _split_017(functions, params, t):
    window = {name: params[name] for name in ("kernel_size", "dilation", "is_causal")}
    qk = getattr(functions, f"na{params['rank']}d_qk")
    av = getattr(functions, f"na{params['rank']}d_av")
    logits = qk(t["q"], t["k"], additional_keys=t["ak"], rpb=t["rpb"], **window)
    return {
        "logits": logits,
        "out": av(logits.softmax(-1), t["v"], additional_values=t["av"], **window),
    }


def _fused(functions, params, t):
    arguments = {name: value for name, value in params.items() if name != "rank"}
    arguments |= {"additional_keys": t["ak"], "additional_values": t["av"]}
    function = getattr(functions, f"na{params['rank']}d")
    if "lse" not in t.recorded:
        return {"out": function(t["q"], t["k"], t["v"], **arguments)}
    out, lse = function(t["q"], t["k"], t["v"], **arguments, return_lse=True)
    return {"out": out, "lse": lse}


def _call(version, api, params, leaves):
    functions = compat.for_version(version).functional
    if api.startswith("natten"):
        return _split_014(functions, params, leaves)
    if "_with_bias" in api:
        return _split_015(functions, params, leaves)
    if "_qk" in api:
        return _split_017(functions, params, leaves)
    return _fused(functions, params, leaves)


def _compare(version, name, got, want):
    got, want = got.detach().double(), want.double()
    assert got.shape == want.shape, name
    masked = torch.isinf(want)
    assert torch.equal(torch.isneginf(got), masked), f"{name}: other positions are masked"
    difference = (got - want).masked_fill(masked, 0).abs().max().item()
    largest = want.masked_fill(masked, 0).abs().max().item()
    allowed = 1e-4 if _in_float32(version) else TOLERANCE[version]
    assert difference <= allowed * largest, f"{name}: {difference} of {largest}"


def _run_function(version, case, recorded):
    leaves = _Leaves(recorded)
    results = _call(version, case["api"], _tuples(case["params"]), leaves)
    results["out"].backward(recorded["dout"])
    gradients = {f"d{name}": leaf.grad for name, leaf in leaves.items() if leaf is not None}
    return results | gradients


def _run_module(version, case, recorded):
    params = _tuples(case["params"])
    del params["rank"]
    dim = params.pop("dim")
    module = getattr(compat.for_version(version), case["api"])(dim, **params)
    module = module.to(_dtype(version))
    state = {n[6:]: t for n, t in recorded.items() if n.startswith("param.")}
    module.load_state_dict(state, strict=True)
    x = recorded["x"].clone().requires_grad_()
    out = module(x)
    out.backward(recorded["dout"])
    gradients = {f"grad.{name}": p.grad for name, p in module.named_parameters()}
    return {"out": out, "dx": x.grad} | gradients


@pytest.mark.parametrize(
    ("version", "case"),
    [
        pytest.param(version, case, id=f"{version}-{case['id']}-{case['api']}")
        for version in TOLERANCE
        for case in _cases(version)
    ],
)
def test_recorded(version, case):
    reason = LEFT_OUT.get((version, case["id"]))
    if reason is not None:
        pytest.skip(reason)
    recorded = _tensors(version, case)
    run = _run_module if "Neighborhood" in case["api"] else _run_function
    results = run(version, case, recorded)
    inputs = {"q", "k", "v", "ak", "av", "rpb", "x", "dout"}
    expected = {n for n in recorded if n not in inputs and not n.startswith("param.")}
    assert expected <= results.keys()
    for name in expected:
        _compare(version, name, results[name], recorded[name])


def test_number_of_cases():
    assert {v: len(_cases(v)) for v in TOLERANCE} == {
        "0.14.6": 34,
        "0.15.1": 35,
        "0.17.5": 32,
        "0.20.1": 31,
        "0.21.6": 31,
    }
