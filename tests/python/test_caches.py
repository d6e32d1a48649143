# SPDX-License-Identifier: MIT
"""Caches between calls distinguish everything that a result depends on."""

import itertools
import os
import subprocess
import sys
import warnings

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

import natten_mps as nm
from natten_mps import (
    _choose,
    _dense,
    _lib,
    _namespace,
    _operation,
    _plan,
    _prepared,
    backend,
    ops,
    pure,
)
from natten_mps._mps import verdict
from natten_mps.ops import Window
from natten_mps.utils.window import Ranges

K3 = Window((3,), (1,), (1,), (1,), (False,))


def prepared(
    op=_operation.ATTN,
    shape=(1, 6, 6, 4),
    dtype=torch.float32,
    device="cpu",
    window=K3,
    scale=None,
    ragged=False,
    heads_first=False,
    bias=False,
):
    inputs = [torch.zeros(shape, dtype=dtype, device=device)] * (3 if op.name == "attn" else 2)
    rpb = torch.zeros(6, 5, dtype=dtype, device=device) if bias else None
    inputs += [rpb, *[None] * (len(op.inputs) - len(inputs) - 1)]
    kinds = _prepared.kinds_of(inputs)
    return _prepared.prepare(op, inputs, kinds, window, scale, ragged, heads_first)


DIFFERENT = {
    "op": {"op": _operation.QK},
    "shape": {"shape": (1, 6, 6, 5)},
    "dtype": {"dtype": torch.float16},
    "device": {"device": "meta"},
    "kernel": {"window": K3._replace(kernel=(5,))},
    "dilation": {"window": K3._replace(dilation=(2,))},
    "stride": {"window": K3._replace(stride=(2,))},
    "query_step": {"window": K3._replace(query_step=(2,))},
    "causal": {"window": K3._replace(causal=(True,))},
    "mask_first": {"window": K3._replace(mask_first=True)},
    "ranges": {"window": K3._replace(ranges=Ranges((0,), (0,), (6,)))},
    "range 0": {"window": K3._replace(kernel=(1,), ranges=Ranges((0,), (0,), (7,)))},
    "range 1": {"window": K3._replace(kernel=(1,), ranges=Ranges((1,), (1,), (7,)))},
    "scale": {"scale": 0.25},
    "ragged": {"ragged": True},
    "heads_first": {"heads_first": True},
    "bias": {"bias": True},
}


def test_problems_that_differ_in_anything_are_prepared_apart():
    made = {name: prepared(**options) for name, options in {"": {}, **DIFFERENT}.items()}
    for (a, first), (b, second) in itertools.combinations(made.items(), 2):
        assert first is not second, (a, b)
    for name, options in DIFFERENT.items():
        assert prepared(**options) is made[name], name


def test_the_choice_and_a_fork_are_part_of_a_problem(monkeypatch):
    monkeypatch.setattr(backend, "choice", "auto")
    usual = prepared()
    with nm.use_backend("pure"):
        assert prepared().backend == "pure"
    if "native" in (usual.backend, backend.get_backend()):
        with nm.use_backend("reference"):
            assert prepared().backend == "reference"
    monkeypatch.setattr(_lib, "forked", True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert prepared().backend == "pure"


@pytest.mark.parametrize("name", ["auto", "pure"])
def test_layouts_of_one_shape(name):
    """[1, 6, 6, 4] is 6 tokens of 6 heads either way."""
    x = torch.randn(1, 6, 6, 4)
    with nm.use_backend(name):
        last = ops.attn(x, x, x, window=K3)[0]
        first = ops.attn(x, x, x, window=K3, heads_first=True)[0]
    y = x.transpose(1, 2)
    want = pure.attn(y, y, y, window=K3)[0].transpose(1, 2)
    torch.testing.assert_close(first, want)
    assert not torch.allclose(first, last)


@pytest.mark.parametrize("rank", [1, 2])
def test_sizes_may_change_between_forward_and_backward(rank):
    x = torch.randn(2, *(9, 8)[:rank], 1, 4)
    sizes = torch.tensor([[9, 8][:rank], [5, 4][:rank]])
    given = (sizes.flatten() if rank == 1 else sizes).clone()
    varlen = getattr(nm, f"na{rank}d_varlen")
    grads = []
    for change in (False, True):
        leaf = x.clone().requires_grad_()
        out = varlen(leaf, leaf, leaf, given, 3)
        if change:
            given.fill_(3)
        out.square().sum().backward()
        grads.append(leaf.grad)
    assert torch.equal(*grads)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_fake_results_are_of_the_dtypes_of_real_ones(dtype):
    x = torch.zeros(1, 9, 2, 8, dtype=dtype)
    real = torch.ops.natten_mps.attn(x, x, x, None, None, None, None, *K3[:6], None, False)
    with FakeTensorMode() as mode:
        y = mode.from_tensor(x)
        fake = torch.ops.natten_mps.attn(y, y, y, None, None, None, None, *K3[:6], None, False)
    for a, b in zip(real, fake, strict=True):
        assert (a.dtype, a.shape, a.stride()) == (b.dtype, b.shape, b.stride())
    assert real[1].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("padded", [False, True])
def test_dropout_that_drops_nothing_changes_nothing(padded):
    """Dropout takes the split operations: with the bias, the scale and the sizes."""
    causal = not padded  # causal windows start at the same keys with and without padding
    module = nm.NeighborhoodAttention1D(
        8, 2, 3, attn_drop=1e-12, rel_pos_bias=True, qk_scale=0.7, is_causal=causal, stride=2
    )
    x = torch.randn(2, 9, 8)
    sizes = (torch.tensor([9, 5]),) if padded else ()
    torch.nn.init.normal_(module.rpb)
    out = module.train()(x, *sizes)
    torch.testing.assert_close(out, module.eval()(x, *sizes))
    module.train()(x, *sizes).square().sum().backward()
    assert module.rpb.grad.abs().sum() > 0


def test_dropout_drops():
    module = nm.NeighborhoodAttention1D(8, 2, 3, attn_drop=0.5).train()
    x = torch.randn(2, 9, 8)
    assert not torch.equal(module(x), module(x))
    module.attn_drop.p = 0.0
    assert torch.equal(module(x), module(x))


def test_the_compilers_form_is_for_host_memory():
    x = torch.zeros(1, 8, 1, 4)
    assert _dense.takes((x, x, x, None, None, None), K3, None, False)
    for i in range(3):
        mixed = [x.to("meta") if i == j else x for j in range(3)]
        assert not _dense.takes((*mixed, None, None, None), K3, None, False)


FLOPS = 2 * 2 * 9 * 3 * 4  # operations per multiply-add, heads, queries, window, head dim


@pytest.mark.parametrize(
    ("what", "forward", "backward"), [("qk", 1, 2), ("av", 1, 2), ("attn", 2, 5)]
)
def test_flops_of_each_operation(what, forward, backward):
    x = torch.randn(1, 9, 2, 4, requires_grad=True)
    w = torch.randn(1, 9, 2, 3, requires_grad=True)
    calls = {
        "qk": lambda: nm.na1d_qk(x, x, 3),
        "av": lambda: nm.na1d_av(w, x, 3),
        "attn": lambda: nm.na1d(x, x, x, 3),
    }
    with FlopCounterMode(display=False) as flops:
        out = calls[what]()
    assert flops.get_total_flops() == forward * FLOPS
    with FlopCounterMode(display=False) as flops:
        out.sum().backward()
    assert flops.get_total_flops() == backward * FLOPS


class _Device:
    def identity(self):
        return self.name

    def __init__(self, name):
        self.name = name


def test_verdicts_are_of_one_installation(monkeypatch, tmp_path):
    library = tmp_path / "lib.so"
    library.touch()
    monkeypatch.setenv(_lib.OVERRIDE, str(library))

    def key(tier="1", device="a"):
        return verdict._key(tier, _Device(device))

    keys = [key(), key(tier="2"), key(device="b")]
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9.9")
        keys.append(key())
    with monkeypatch.context() as patch:
        patch.setattr(verdict, "__version__", "9.9.9")
        keys.append(key())
    os.utime(library, ns=(1, 1))
    keys.append(key())
    assert len(set(keys)) == len(keys)


def tables():
    return [t for table in pure._tables._values.values() for t in table if t is not None]


def test_tables_made_under_modes_and_transforms_are_not_kept(monkeypatch):
    monkeypatch.setattr(pure, "_tables", type(pure._tables)(1 << 20, pure._table_bytes))
    x = torch.randn(1, 11, 1, 4)

    def attend(t):
        return pure.attn(t, t, t, window=K3)[0]

    with FakeTensorMode() as mode:
        attend(mode.from_tensor(x))
    torch.func.vmap(attend)(x[None])
    torch.func.grad(lambda t: attend(t).sum())(x)
    torch.func.functionalize(attend)(x)
    assert tables() == []
    with torch.inference_mode():
        want = attend(x)
    assert len(pure._tables._values) == 1
    assert not any(isinstance(t, FakeTensor) or t.is_inference() for t in tables())
    leaf = x.clone().requires_grad_()
    out = attend(leaf)
    out.sum().backward()
    torch.testing.assert_close(out.detach(), want)


def test_only_wanted_gradients_are_computed(monkeypatch):
    seen, run = [], _plan.Plan.run

    def spy(self, tensors, sizes=None):
        seen.append(tensors)
        return run(self, tensors, sizes)

    monkeypatch.setattr(_plan.Plan, "run", spy)
    q, k = torch.randn(2, 1, 9, 2, 4)
    with nm.use_backend("native"):
        nm.na1d(q.requires_grad_(), k, k, 3).sum().backward()
    assert [t is not None for t in seen[-1][-6:]] == [True, False, False, False, False, False]


def compiled(backend):
    """A compiled call that the compiler does not write out."""
    return lambda x: torch.compile(lambda t: nm.na1d_qk(t, t, 3, scale=0.834), backend=backend)(x)


CALLS = {
    "function": lambda x: nm.na1d(x, x, x, 3, scale=0.831),
    "module": lambda x: nm.NeighborhoodAttention1D(4, 1, 5).double()(x[..., 0, :]),
    "torch.func": lambda x: torch.func.grad(lambda t: nm.na1d(t, t, t, 3, scale=0.832).sum())(x),
    "compat": lambda x: nm.compat.v021.na1d(x, x, x, 3, scale=0.833),
    "compiled": compiled("aot_eager"),
    "inductor": compiled("inductor"),
}
SLOW = [pytest.param(n, marks=[pytest.mark.slow] * (n == "inductor")) for n in CALLS]


@pytest.mark.parametrize("name", SLOW)
def test_a_warning_names_the_callers_line(monkeypatch, name):
    monkeypatch.setattr(backend, "choice", "auto")
    monkeypatch.setattr(_choose, "_warned", set())
    monkeypatch.setattr(_choose, "_against", lambda *_: "it is a test")
    monkeypatch.setattr(_prepared, "_prepared", {})
    with pytest.warns(UserWarning, match="in this process: it is a test") as found:
        CALLS[name](torch.rand(1, 9, 1, 4, dtype=torch.float64))
    assert [warning.filename for warning in found] == [__file__]
    assert found[0].lineno == CALLS[name].__code__.co_firstlineno


@pytest.fixture
def tags():
    before = torch.compiler.config.cache_key_tag
    yield torch.compiler.config
    torch.compiler.config.cache_key_tag = before


def test_caches_of_compiled_code_are_tagged_with_the_version(tags, monkeypatch):
    assert f"natten_mps {nm.__version__}" in tags.cache_key_tag.split("; ")
    both = "natten_mps 1; natten_mps 10"
    for before, after in (("", both), ("a", f"a; {both}")):
        tags.cache_key_tag = before
        for version in ("1", "1", "10", "1"):
            monkeypatch.setattr(_namespace, "__version__", version)
            _namespace._mark_compiled_code()
        assert tags.cache_key_tag == after


COMPILED = """
import sys
from natten_mps import version
version.__version__ = sys.argv[1]
import torch
import natten_mps as nm
from torch._dynamo.utils import counters
nm.set_backend("pure")
x = torch.rand(1, 9, 1, 4, requires_grad=True)
torch.compile(lambda x: nm.na1d_qk(x, x, 3).sum())(x).backward()
print(counters["inductor"]["fxgraph_cache_hit"])
"""


@pytest.mark.slow
def test_compiled_code_of_another_version_is_not_reused(tags, tmp_path):
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    hits = [
        int(subprocess.check_output([sys.executable, "-c", COMPILED, version], env=environment))
        for version in ("1", "1", "2")
    ]
    assert hits == [0, 2, 0]
