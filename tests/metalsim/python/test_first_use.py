# SPDX-License-Identifier: MIT
"""What happens on the first call where the GPU is wrong, refuses or is not there: under "auto" the
result is right and one warning says why, by name there is an error. Each case is a program of its
own, since a process decides once."""

import json
import os
import subprocess
import sys

import pytest

if not os.environ.get("NATTEN_MPS_SIMULATOR"):
    pytest.skip("NATTEN_MPS_SIMULATOR names no simulator", allow_module_level=True)
if os.environ.get("NATTEN_MPS_TIER", "1-block") != "1-block":
    pytest.skip("the programs choose a tier themselves", allow_module_level=True)

#: A factor of the logits that the compiler gets wrong, in sources that have a name in them.
#: Kernels are what is wrong there, so that tiers need no test of their own.
KERNELS = {"TRUST": "1"}
WRONG = "#define NA_LOG2E 1.44=>#define NA_LOG2E 1.5"
BROKEN = "p.scale * NA_LOG2E=>undeclared"
#: The kernels of PROGRAM's problem, tuned and of plain design.
TUNED = "_r22_a2"

PROGRAM = """
import json, os, warnings
import torch
from natten_mps import backend, ops, pure
from natten_mps._choose import in_metal_memory
from natten_mps._mps import tiers
from natten_mps.utils.window import Window
import natten_mps._choose as choose, natten_mps._prepared as prepared

# The CPU stands in for torch's MPS device, so the backend must be chosen by name.
choose.in_metal_memory = prepared.in_metal_memory = lambda device: True
best = choose._BEST = {"cpu": "metal"}
backend.choice = os.environ["CHOICE"]
tiers.trusted = "TRUST" in os.environ
window = Window((3, 3), (1, 1), (1, 1), (1, 1), (False, False))
torch.manual_seed(0)
q, k, v = (torch.rand(1, 9, 7, 2, 16) for _ in range(3))
if os.environ.get("UNALIGNED"):
    q, k, v = (torch.rand(1 + t.numel())[1:].view(t.shape).copy_(t) for t in (q, k, v))

def gradients(attn):
    leaves = [t.detach().requires_grad_() for t in (q, k, v)]
    out, lse = attn(*leaves, window=window)
    return [out, lse, *torch.autograd.grad(out.square().sum() + lse.sum(), leaves)]

result = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        found = [gradients(ops.attn) for _ in range(2)][-1]
        pairs = zip(found, gradients(pure.attn))
        result["error"] = max((a - b).abs().max().item() for a, b in pairs)
    except Exception as error:
        result["raised"] = f"{type(error).__name__}: {error}"
result["warnings"] = [str(w.message) for w in caught]
result["details"] = backend.get_support_matrix()["metal"]["details"]
result["tier"] = tiers._choice and tiers._choice.stream and tiers._choice.stream.tier
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("verdicts")


def first_call(folder, choice="auto", **settings):
    """What PROGRAM found in a process with these settings."""
    environment = {
        **os.environ,
        "NATTEN_BACKEND": "",
        "NATTEN_MPS_VERIFY": "",
        "NATTEN_MPS_CACHE": str(folder),
        "METALSIM_MODE": "fast",
        "CHOICE": choice,
        "NATTEN_MPS_TIER": "",
        "PYTHONPATH": os.pathsep.join(sys.path),
        **settings,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


#: Neither Metal nor torch's encoder has a device to show.
NO_GPU = {"METALSIM_FAIL": "device,devices", "METALSIM_HIDE": "SimComputeCommandEncoder.device"}


def test_torchs_gpu_is_used_where_metal_shows_none(folder):
    for choice in ("auto", "metal"):
        found = first_call(folder, choice, METALSIM_FAIL="device,devices")
        assert found["error"] < 1e-4
        assert found["warnings"] == []
        assert found["tier"] == "1-block"


def test_a_good_gpu_is_used_without_a_word(folder):
    found = first_call(folder)
    assert found["error"] < 1e-4
    assert found["warnings"] == []
    assert found["tier"] == "1-block"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"METALSIM_MISCOMPILE": WRONG, "METALSIM_MISCOMPILE_FOR": TUNED},
            ("natten_mps uses plainer kernels", "computes wrongly: out differs from the reference"),
        ),
        (
            {"METALSIM_MISCOMPILE": BROKEN, "METALSIM_MISCOMPILE_FOR": TUNED},
            ("natten_mps uses plainer kernels", "the GPU refuses attn_fwd_f32_", "undeclared"),
        ),
        (
            {
                "METALSIM_MISCOMPILE": BROKEN,
                "METALSIM_MISCOMPILE_FOR": "attn_fwd_f32_d16_e16_g4_r22",
                "UNALIGNED": "1",
            },
            ("natten_mps uses plainer kernels", "the GPU refuses attn_fwd_f32_d16", "undeclared"),
        ),
    ],
    ids=["wrong", "broken", "broken-unaligned"],
)
def test_a_tuned_kernel_has_a_plainer_one(folder, settings, words):
    found = first_call(folder, **settings, **KERNELS)
    assert found["error"] < 1e-4
    assert len(found["warnings"]) == 1
    assert all(word in found["warnings"][0] for word in words)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"METALSIM_MISCOMPILE_FOR": "attn_fwd_f32_v4_d16"}, "undeclared"),
        ({"METALSIM_MISCOMPILE_FOR": "attn_bwd_kv_f32_v4_d16"}, "undeclared"),
        ({"METALSIM_MISCOMPILE_FOR": "attn_fwd_f32_d16", "UNALIGNED": "1"}, "undeclared"),
        (
            {"METALSIM_MISCOMPILE_FOR": "attn_bwd_kv_f32_v4_d16", "METALSIM_MISCOMPILE": WRONG},
            "computes wrongly: d_key differs from the reference by",
        ),
    ],
    ids=["forward", "backward", "forward-unaligned", "backward-wrong"],
)
def test_what_no_kernel_computes_is_left_to_pure(folder, settings, word):
    settings = {"METALSIM_MISCOMPILE": BROKEN, **settings, **KERNELS}
    found = first_call(folder, **settings)
    assert found["error"] < 1e-4
    assert len(found["warnings"]) == 1
    assert found["warnings"][0].startswith("natten_mps computes with 'pure' in this process: ")
    assert word in found["warnings"][0]
    by_name = first_call(folder, "metal", **settings)
    assert by_name["raised"].startswith("NotImplementedError: ")
    assert word in by_name["raised"]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (NO_GPU, "neither finds a GPU that Metal can use"),
        ({"METALSIM_FAMILY": "6"}, "is not of Apple's families"),
        ({"METALSIM_WIDTH": "64"}, "have 64 threads (want 32)"),
    ],
    ids=["no-device", "no-family", "width"],
)
def test_a_gpu_that_is_not_for_us(folder, settings, word):
    found = first_call(folder, **settings)
    assert found["error"] < 1e-4
    assert len(found["warnings"]) == 1
    assert word in found["warnings"][0]
    if "METALSIM_WIDTH" not in settings:
        assert word in found["details"]
    by_name = first_call(folder, "metal", **settings)
    assert by_name["raised"].startswith("NotImplementedError: ")
    assert word in by_name["raised"]


def test_a_tier_that_computes_wrongly_refuses_all(folder):
    found = first_call(folder, METALSIM_MISCOMPILE=WRONG)
    assert found["tier"] is None
    assert found["error"] < 1e-4
    assert len(found["warnings"]) == 1
    assert found["warnings"][0].count("computes wrongly: ") == 1
    assert "doctor --report FILE" in found["warnings"][0]
    assert "computes wrongly: " in found["details"]


def test_each_call_is_compared_on_demand(folder):
    settings = {"METALSIM_MISCOMPILE": WRONG, "METALSIM_MISCOMPILE_FOR": "attn_fwd_f32_v4_d16"}
    assert first_call(folder, "metal", NATTEN_MPS_VERIFY="off", **settings)["error"] > 1e-3
    good = first_call(folder, "metal", NATTEN_MPS_VERIFY="always", **KERNELS)
    assert good["error"] < 1e-4
    unknown = first_call(folder, "metal", NATTEN_MPS_VERIFY="maybe")
    assert "NATTEN_MPS_VERIFY is 'maybe' (want off, first or always)" in unknown["raised"]
