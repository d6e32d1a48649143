# SPDX-License-Identifier: MIT
"""What a user meets first: names, parameters, documentation, the choice of a backend."""

import doctest
import importlib
import inspect
import pickle
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import natten_mps as nm
from natten_mps import backend, ops

FUNCTIONS = [n for n in nm.__all__ if inspect.isroutine(getattr(nm, n))]
CLASSES = [n for n in nm.__all__ if n.startswith("Neighborhood")]


class Kernel(Sequence):
    """A sequence that is neither tuple nor list, as configurations have them."""

    def __init__(self, *entries):
        self.entries = entries

    def __len__(self):
        return len(self.entries)

    def __getitem__(self, i):
        return self.entries[i]


class Index:
    """An integer type of another package."""

    def __index__(self):
        return 3


FORMS = {
    "int": 3,
    "numpy number": np.int64(3),
    "numpy array": np.array([3, 5]),
    "torch.Size": torch.Size([3, 5]),
    "list": [3, 5],
    "list of numpy": [np.int32(3), np.int64(5)],
    "sequence": Kernel(3, 5),
    "__index__": Index(),
    "tuple of __index__": (Index(), 5),
    "tensor": torch.tensor([3, 5]),
}


def omega(*entries):
    return pytest.importorskip("omegaconf").OmegaConf.create({"size": list(entries)}).size


@pytest.mark.parametrize("form", [*FORMS, "ListConfig"])
def test_forms_of_window_parameters(form):
    given = omega(3, 5) if form == "ListConfig" else FORMS[form]
    plain = (3, 3) if form in ("int", "numpy number", "__index__") else (3, 5)
    x = torch.randn(1, 9, 9, 2, 4)
    want = nm.na2d(x, x, x, plain)
    assert torch.equal(nm.na2d(x, x, x, given), want)
    module = nm.NeighborhoodAttention2D(8, 2, given, dilation=np.int64(1))
    assert module.kernel_size == plain
    assert all(type(k) is int for k in module.kernel_size)
    assert torch.equal(nm.na2d_qk(x, x, given), nm.na2d_qk(x, x, plain))


@pytest.mark.parametrize("form", [*FORMS, "ListConfig"])
def test_forms_of_offsets(form):
    given = omega(3, 5) if form == "ListConfig" else FORMS[form]
    row, column = (3, 3) if form in ("int", "numpy number", "__index__") else (3, 5)
    x = torch.randn(1, 9, 9, 2, 4)
    queries, whole = x[:, row:, column:], nm.na2d(x, x, x, 3)
    part = nm.na2d(queries, x, x, 3, query_offset=given, full_size=[np.int64(9), 9])
    torch.testing.assert_close(part, whole[:, row:, column:])
    logits = nm.na2d_qk(queries, x, 3, query_offset=given, key_offset=np.array([0, 0]))
    torch.testing.assert_close(logits, nm.na2d_qk(x, x, 3)[:, row:, column:])
    summed = nm.na2d_av(logits, x, 3, query_offset=given, full_size=Kernel(9, 9))
    torch.testing.assert_close(summed, nm.na2d_av(nm.na2d_qk(x, x, 3), x, 3)[:, row:, column:])


def test_one_causal_flag_as_numpy_gives_it():
    x = torch.randn(1, 9, 2, 4)
    want = nm.na1d(x, x, x, 3, is_causal=True)
    for given in (np.True_, np.int64(1), [np.bool_(True)]):
        assert torch.equal(nm.na1d(x, x, x, 3, is_causal=given), want)


SHAPES = {1: (1, 4, 9, 8), 2: (1, 4, 9, 10, 8), 3: (1, 4, 9, 10, 11, 8)}
ORDERS = {
    1: "looks like heads-first [B, heads, L, dim]; natten_mps takes heads-last [B, L, heads",
    2: "looks like heads-first [B, heads, H, W, dim]; natten_mps takes heads-last [B, H, W, h",
    3: "looks like heads-first [B, heads, D, H, W, dim]; natten_mps takes heads-last [B, D, H",
}


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_heads_first_is_recognised(rank):
    x = torch.zeros(SHAPES[rank])
    few = x[:, :2]  # grouped-query heads, whose axes must be found, too
    weights = torch.zeros(*SHAPES[rank][:-1], 7**rank)
    sizes = torch.tensor([SHAPES[rank][2:-1]])
    calls = {
        "": lambda f: f(x, x, x, 7),
        "_qk": lambda f: f(x, few, 7),
        "_av": lambda f: f(weights, x, 7),
        "_varlen": lambda f: f(x, few, few, sizes, 7),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=re.escape(ORDERS[rank])):
            call(getattr(nm, f"na{rank}d{name}"))
    window = ops.Window((7,) * rank, (1,) * rank, (1,) * rank, (1,) * rank, (False,) * rank)
    with pytest.raises(ValueError, match="looks like heads-first"):
        ops.attn(x, x, x, window=window)
    last = x.movedim(1, -2)
    with pytest.raises(ValueError, match=r"looks like heads-last .*: use .movedim\(-2, 1\)"):
        ops.attn(last, last, last, window=window, heads_first=True)


def test_what_fits_no_order_is_not_called_heads_first():
    x = torch.zeros(1, 4, 5, 6, 8)
    with pytest.raises(ValueError, match="cannot exceed") as caught:
        nm.na2d(x, x, x, 7)
    assert "looks like" not in str(caught.value)


def test_channels_first_is_recognised():
    module = nm.NeighborhoodAttention2D(8, 2, 3)
    with pytest.raises(ValueError, match=r"x looks like channels-first; .* \[B, H, W, C\]"):
        module(torch.zeros(1, 8, 5, 6))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", ["auto", "pure"])
def test_window_stride(rank, causal, name):
    """Compared with the NATTEN generation that has this stride, through all functions."""
    lengths, kernel, step = (9, 8, 7)[:rank], (5, 4, 3)[:rank], (2, 3, 1)[:rank]
    x = torch.randn(2, *lengths, 2, 8)
    new = importlib.import_module("natten_mps.compat.v021.functional")
    with nm.use_backend("native"):
        want = getattr(new, f"na{rank}d")(x, x, x, kernel, stride=step, is_causal=causal)
    with nm.use_backend(name):
        rule = {"window_stride": step, "is_causal": causal}
        got = getattr(nm, f"na{rank}d")(x, x, x, kernel, **rule)
        torch.testing.assert_close(got, want)
        logits = getattr(nm, f"na{rank}d_qk")(x, x, kernel, scale=8**-0.5, **rule)
        split = getattr(nm, f"na{rank}d_av")(logits.softmax(-1), x, kernel, **rule)
        torch.testing.assert_close(split, want)
        sizes = torch.tensor([lengths] * 2) if rank > 1 else torch.tensor(list(lengths) * 2)
        padded = getattr(nm, f"na{rank}d_varlen")(x, x, x, sizes, kernel, **rule)
        torch.testing.assert_close(padded, want)
        module = getattr(nm, f"NeighborhoodAttention{rank}D")(16, 2, kernel, **rule)
        plain = getattr(nm, f"NeighborhoodAttention{rank}D")(16, 2, kernel, is_causal=causal)
        plain.load_state_dict(module.state_dict())
        y = torch.randn(1, *lengths, 16)
        assert f"window_stride={step}" in repr(module)
        assert (module(y) - plain(y)).abs().max() > 1e-4
        plain.window_stride = step
        assert torch.equal(module(y), plain(y))


def test_window_stride_of_packed_sequences():
    x = torch.randn(16, 2, 8)
    ends = torch.tensor([0, 7, 16])
    out = nm.na1d_packed(x, x, x, ends, 5, window_stride=2, stride=None)
    for begin, end in ((0, 7), (7, 16)):
        alone = x[None, begin:end]
        want = nm.na1d(alone, alone, alone, 5, window_stride=2)[0]
        torch.testing.assert_close(out[begin:end], want)


@pytest.mark.parametrize("stride", [None, 2, (2,), np.int64(2)])
def test_packed_strides(stride):
    x = torch.randn(9, 2, 8)
    out = nm.na1d_packed(x, x, x, torch.tensor([0, 9]), 5, stride=stride)
    torch.testing.assert_close(out, nm.na1d(x[None], x[None], x[None], 5, stride=stride)[0])


def test_use_backend():
    before = backend.choice
    with nm.use_backend("pure"):
        assert nm.get_backend() == "pure"
        with pytest.raises(ValueError, match="Unknown backend 'x'"), nm.use_backend("x"):
            pass
        with nm.use_backend("nanobind"):
            assert nm.get_backend() == "native"
        assert nm.get_backend() == "pure"
    with pytest.raises(ZeroDivisionError), nm.use_backend("reference"):
        _ = 1 / 0
    assert backend.choice == before

    @nm.use_backend("pure")
    def asked():
        return nm.get_backend()

    assert [asked(), asked()] == ["pure", "pure"]
    assert backend.choice == before


def test_dir_shows_everything_public():
    for name in dir(nm):
        assert getattr(nm, name) is not None
    folder = Path(nm.__file__).parent
    homes = {p.stem for p in folder.iterdir() if p.stem[0] != "_" and p.suffix in ("", ".py")}
    programs = {"bench", "doctor", "lib", "version", "py"}
    inner = {"checks", "ops", "pure", "support_matrix", "varlen"}  # exported under other names
    assert homes - programs - inner <= set(dir(nm))


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_help_names_every_parameter(name):
    thing = getattr(nm, name)
    text = inspect.getdoc(thing)
    given = inspect.signature(thing).parameters
    assert [p for p in given if f"\n    {p}: " not in text] == []
    sections = ["Args"] if given else []
    sections += [] if name in ("set_backend", "use_backend", *CLASSES) else ["Returns"]
    assert [s for s in sections if f"\n{s}:\n" not in text] == []


def test_functions_say_that_they_are_from_a_public_module():
    """Pickles and programs of torch.fx find a function by the module that it names."""
    for name in FUNCTIONS:
        function = getattr(nm, name)
        assert "._" not in function.__module__
        assert pickle.loads(pickle.dumps(function)) is function


def examples():
    names = ("functional", "backend", "merge", "viz", "_visible")
    homes = [importlib.import_module(f"natten_mps.{name}") for name in names]
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {}
    for module in homes:
        for test in finder.find(module):
            if test.examples:
                found[test.name] = test
    for name in FUNCTIONS:
        function = getattr(nm, name)
        for test in finder.find(function, name, globs={}):
            if test.examples:
                found[f"{function.__module__}.{name}"] = test
    return list(found.values())


@pytest.mark.parametrize("example", examples(), ids=lambda e: e.name)
def test_example(example):
    example.globs = {}
    said = []
    doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert not said, "".join(said)


def test_every_function_of_attention_has_an_example():
    names = {e.name.rpartition(".")[2] for e in examples()}
    assert {n for n in FUNCTIONS if n.startswith("na") or n == "merge_attentions"} <= names
