# SPDX-License-Identifier: MIT
"""The ways into the operations: what is remembered, recorded, exported, and what a call costs."""

import enum
import gc
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import natten_mps as nm
from natten_mps import _prepared, backend, ops, pure

Q = (2, 6, 7, 2, 8)
UNCHANGING = (type, int, float, str, bytes, bool, range, type(None))
UNCHANGING += (torch.dtype, torch.device, enum.Enum)


def changeable(key):
    """Parts of a key that could be changed after the key was made."""
    if isinstance(key, tuple):
        return [part for entry in key for part in changeable(entry)]
    return [] if isinstance(key, UNCHANGING) else [key]


def keys_of_caches():
    """Keys of all caches of the package's modules: dicts of prepared problems and functools'."""
    yield from list(_prepared._prepared)
    for name, module in list(sys.modules.items()):
        if name.startswith("natten_mps") and module is not None:
            for value in list(vars(module).values()):
                if hasattr(value, "cache_info"):
                    for held in gc.get_referents(value):
                        if type(held) is dict:
                            yield from list(held)


def test_no_key_of_a_cache_can_change():
    x = torch.randn(Q)
    for scale in (None, 0.5, 1, torch.tensor(0.5), torch.nn.Parameter(torch.ones(1))):
        nm.na2d(x, x, x, [3, 3], scale=scale)
        nm.na2d(x, x, x, torch.Size([3, 3]), is_causal=[True, False], scale=scale)
    nm.NeighborhoodAttention2D(16, 2, 3, qk_scale=torch.nn.Parameter(torch.ones(())))(x.flatten(-2))
    keys = list(keys_of_caches())
    assert len(keys) > 5
    assert [part for key in keys for part in changeable(key)] == []


@pytest.mark.parametrize("name", ["native", "pure"])
def test_a_tensor_as_scale_is_read_at_every_call_and_gets_a_gradient(name):
    backend.set_backend(name)
    x, scale = torch.randn(Q), torch.nn.Parameter(torch.tensor([0.3]))
    for value in (0.3, 0.7):
        with torch.no_grad():
            scale.fill_(value)
        out = nm.na2d(x, x, x, 3, scale=scale)
        torch.testing.assert_close(out, nm.na2d(x, x, x, 3, scale=value))
        step = 1e-2
        sides = [nm.na2d(x, x, x, 3, scale=value + s).square().sum() for s in (step, -step)]
        (gradient,) = torch.autograd.grad(out.square().sum(), scale)
        torch.testing.assert_close(gradient.item(), ((sides[0] - sides[1]) / (2 * step)).item(), rtol=0.02, atol=0.02)  # fmt: skip  # noqa: E501


def test_a_recorded_trace_runs_where_the_package_is_not(tmp_path):
    module = nm.NeighborhoodAttention2D(16, 2, 3, rel_pos_bias=True).eval()
    x = torch.randn(2, 6, 7, 16)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            torch.jit.save(torch.jit.trace(module, (x,)), tmp_path / "module.pt")
        y = torch.randn(3, 6, 7, 16)
        torch.save(y, tmp_path / "input.pt")
        program = (
            "import sys, torch\nmodule = torch.jit.load('module.pt')\n"
            "torch.save(module(torch.load('input.pt')).detach(), 'output.pt')\n"
            "assert 'natten_mps' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
        torch.testing.assert_close(torch.load(tmp_path / "output.pt"), module(y).detach())


def test_a_recorded_trace_refuses_other_lengths():
    with torch.no_grad():
        recorded = torch.jit.trace(lambda x: nm.na2d(x, x, x, 3), (torch.randn(Q),))
    with pytest.raises(RuntimeError):
        recorded(torch.randn(2, 7, 6, 2, 8))


def test_core_ml_converts():
    coremltools = pytest.importorskip("coremltools")
    from natten_mps.export import decompositions

    module = nm.NeighborhoodAttention2D(16, 2, 3, rel_pos_bias=True).eval()
    x = torch.randn(1, 6, 7, 16)
    with torch.no_grad():
        recorded = torch.jit.trace(module, (x,))
    shape = coremltools.TensorType(shape=x.shape)
    assert coremltools.convert(recorded, inputs=[shape], convert_to="mlprogram")
    table = {**torch.export.default_decompositions(), **decompositions()}
    assert coremltools.convert(torch.export.export(module, (x,)).run_decompositions(table))


def _results(q, k, v):
    """Output, lse and gradients."""
    leaves = [t.clone().requires_grad_() for t in (q, k, v)]
    window = ops.Window((3,), (1,), (1,), (1,), (True,))
    out, lse = ops.attn(*leaves, window=window)
    return [out, lse, *torch.autograd.grad(out.sum() + lse.sum(), leaves)]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("which", [1, 2])
def test_what_a_query_does_not_see_cannot_taint_it(which, value):
    inputs = [torch.randn(1, 9, 1, 4) for _ in range(3)]
    inputs[which][:, 6] = value
    backend.set_backend("native")
    want = _results(*inputs)
    backend.set_backend("pure")
    got = _results(*inputs)
    for g, w in zip(got[:3], want[:3], strict=True):
        assert g[:, :6].isfinite().all()
        torch.testing.assert_close(g, w, equal_nan=True)


def test_pure_ignores_autocast():
    x = torch.randn(1, 9, 1, 8)
    window = ops.Window((3,), (1,), (1,), (1,), (False,))
    want = pure.attn(x, x, x, window=window)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = pure.attn(x, x, x, window=window)
    torch.testing.assert_close(got, want)


TRANSFORMS = {
    "grad": (torch.func.grad, (3, 9, 1, 4)),
    "vmap": (torch.func.vmap, (2, 3, 9, 1, 4)),
    "gradients of samples": (lambda f: torch.func.vmap(torch.func.grad(f)), (2, 3, 9, 1, 4)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_torch_func_stays_with_the_backend(name, monkeypatch):
    calls = []
    monkeypatch.setattr(pure, "_gather", lambda *_: calls.append("pure"))
    backend.set_backend("native")
    transform, shape = TRANSFORMS[name]
    transform(lambda x: nm.na1d(x, x, x, 3).sum())(torch.randn(shape))
    assert calls == []


@pytest.mark.parametrize(("name", "most"), [("own", 20), ("v017", 35), ("v020", 35), ("v021", 35)])
def test_an_eager_call_takes_few_hops(name, most, monkeypatch):
    monkeypatch.setattr(backend, "choice", "auto")
    place = "natten_mps" if name == "own" else f"natten_mps.compat.{name}"
    function, x = importlib.import_module(place + ".functional").na2d, torch.randn(Q)
    function(x, x, x, 3)
    here, hops = str(Path(nm.__file__).parent), []

    def count(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(here):
            hops.append(frame.f_code.co_name)

    sys.setprofile(count)
    try:
        function(x, x, x, 3)
    finally:
        sys.setprofile(None)
    assert len(hops) <= most, hops
