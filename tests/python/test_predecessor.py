# SPDX-License-Identifier: MIT
"""Names and places that natten-mps 0.3.3 has, and what they do."""

import importlib
import pickle

import pytest
import torch

from natten_mps import autograd, compat, functional, modules
from natten_mps.extras.allin1 import metal, reference_impl
from natten_mps.utils import window

# Public names of 0.3.3's modules besides those that test_modules.py and other tests call.
PLACES = {
    "natten_mps.nn.na1d": ["NeighborhoodAttention1D"],
    "natten_mps.nn.na2d": ["NeighborhoodAttention2D"],
    "natten_mps.nn.na3d": ["NeighborhoodAttention3D"],
    "natten_mps.autograd.na1d": ["NA1DQKFunction", "NA1DAVFunction"],
    "natten_mps.autograd.na2d": ["NA2DQKFunction", "NeighborhoodAttention2DFunction"],
    "natten_mps.autograd.na3d": ["NA3DQKFunction", "NeighborhoodAttention3DFunction"],
    "natten_mps.functional": ["NA1DQKFunction", "NA3DAVFunction"],
    "natten_mps.extras.allin1": ["natten1dqkrpb", "natten1dav", "natten2dqkrpb", "natten2dav"],
    "natten_mps.extras.allin1.metal": ["metal_1d_qkrpb", "metal_2d_av_backward"],
    "natten_mps.extras.allin1.reference_impl": ["get_window_start", "get_pb_start"],
}


@pytest.mark.parametrize(
    ("place", "name"), [(place, name) for place, names in PLACES.items() for name in names]
)
def test_names_are_where_they_were(place, name):
    assert callable(getattr(importlib.import_module(place), name))


@pytest.mark.parametrize("name", autograd.__all__)
def test_function_classes_are_the_same_in_both_modules(name):
    found = getattr(functional, name)
    assert getattr(autograd, name) is found
    assert found.__name__ == name
    assert pickle.loads(pickle.dumps(found)) is found


@pytest.mark.parametrize(("length", "kernel", "dilation"), [(9, 3, 1), (14, 5, 2), (23, 7, 3)])
def test_windows_of_the_extras(length, kernel, dilation):
    """Ends are exclusive and clipped, starts those of natten_mps.utils.window."""
    for index in range(length):
        start = reference_impl.get_window_start(index, length, kernel, kernel // 2, dilation)
        assert start == window.get_window_start(index, length, kernel, dilation)
        end = reference_impl.get_window_end(start, length, kernel, dilation)
        seen = range(start, end, dilation)
        assert len(seen) == kernel
        assert seen[-1] == window.get_window_end(index, length, kernel, dilation)
        place = reference_impl.get_pb_start(index, length, kernel, kernel // 2, dilation)
        assert place == kernel - 1 - (index - start) // dilation


@pytest.mark.parametrize("rank", [1, 2])
def test_metal_calls_of_the_extras(rank, monkeypatch):
    shape = (2, 3, *(8, 9)[:rank], 4)
    query, key, value = (torch.randn(shape, requires_grad=True) for _ in range(3))
    bias = torch.randn(3, *[5] * rank, requires_grad=True)
    qkrpb, av = (getattr(metal, f"metal_{rank}d_{name}") for name in ("qkrpb", "av"))
    assert qkrpb(query, key, bias, 3, 2) is None
    assert getattr(metal, f"metal_{rank}d_av_backward")(query, value, value, 3, 2) is None

    upstream = compat.for_version("0.14.6").functional
    logits = getattr(upstream, f"natten{rank}dqkrpb")(query, key, bias, 3, 2)
    out = getattr(upstream, f"natten{rank}dav")(logits, value, 3, 2)
    d_logits, d_value = torch.autograd.grad(out, (logits, value), torch.ones_like(out), True)
    wanted = torch.autograd.grad(logits, (query, key, bias), d_logits)
    monkeypatch.setattr(metal, "_available", lambda tensor: True)
    assert torch.allclose(qkrpb(query, key, bias, 3, 2), logits, atol=1e-6)
    assert torch.allclose(av(logits, value, 3, 2), out, atol=1e-6)
    backward = getattr(metal, f"metal_{rank}d_qkrpb_backward")
    for got, want in zip(backward(query, key, bias, d_logits, 3, 2), wanted, strict=True):
        assert torch.allclose(got, want, atol=1e-5)
    assert backward(query, key, None, d_logits, 3, 2)[2] is None
    backward = getattr(metal, f"metal_{rank}d_av_backward")
    got = backward(logits, value, torch.ones_like(out), 3, 2)
    assert torch.allclose(got[0], d_logits, atol=1e-5)
    assert torch.allclose(got[1], d_value, atol=1e-5)


def literal(version):
    return importlib.import_module(f"natten_mps.compat.{version}")


# A positional call that NATTEN accepts and 0.3.3 refuses, the opposite, and one that both accept
# with different meanings.
POSITIONS = {
    ("v014", "NeighborhoodAttention2D"): [
        (16, 2, 3, None),
        (15, 3, 1, 5),
        (16, 4, 7),
    ],
    ("v015", "NeighborhoodAttention1D"): [(16, 2, 3, None), (15, 7, 1, 5), (16, 2, 3)],
    ("v015", "NeighborhoodAttention3D"): [(16, 2, 3, 3, 1, 1, False), (16, 2, 3, 2), (16, 2, 5, 3)],
    ("v017", "NeighborhoodAttention2D"): [(16, 2, 3, None), (15, 7), (16, 4, 7)],
    ("v017", "NeighborhoodAttention3D"): [(16, 2, 3), (16, 4, 3, 1, 1, True, 2), (16, 2, 3, 2)],
    ("v020", "NeighborhoodAttention1D"): [(16, 2, 4, 1, 1, False, False), (16, 2, 4, 2), None],
}


@pytest.mark.parametrize(("version", "name"), POSITIONS)
def test_calls_by_position(version, name):
    """Nothing is exchanged in silence."""
    theirs, ours, both = POSITIONS[version, name]
    make = getattr(literal(version), name)
    upstream = getattr(compat.for_version("0." + version[2:]), name)
    for arguments, kind in ((theirs, upstream), (ours, getattr(modules, name))):
        layer = make(*arguments)
        assert type(layer) is kind
        assert isinstance(layer, make)
    if both is None:
        return
    with pytest.raises(TypeError, match=r"means .* in NATTEN .* in natten-mps 0\.3\.3; give"):
        make(*both)
    upstream(*both)


def test_calls_by_keyword():
    v014, v015 = literal("v014"), literal("v015")
    state = torch.get_rng_state()
    layer = v014.NeighborhoodAttention1D(dim=12, kernel_size=3)
    assert layer.num_heads == 1
    layer = v014.NeighborhoodAttention1D(dim=12, num_heads=2, kernel_size=3)
    assert "rpb" in layer.state_dict()
    assert v015.NeighborhoodAttention3D(embed_dim=12, num_heads=2, kernel_size=3).embed_dim == 12
    torch.set_rng_state(state)
    seeded = v014.NeighborhoodAttention2D(15, 7, 1, 5)
    torch.set_rng_state(state)
    wanted = modules.NeighborhoodAttention2D(15, 5, 7)
    assert torch.equal(seeded.qkv.weight, wanted.qkv.weight), "a trial costs no random numbers"


def test_subclasses_of_the_layers():
    base = literal("v014").NeighborhoodAttention2D

    class Layer(base):
        def __init__(self, dim, *sizes):
            super().__init__(dim, *sizes, qkv_bias=True)

    assert isinstance(Layer(16, 2, 3, None), base)
    assert not isinstance(base(15, 3, 1, 5), Layer)
    with pytest.raises(TypeError, match=r"in natten-mps 0\.3\.3; give"):
        Layer(16, 4, 7)
    with pytest.raises(TypeError, match=r"derive it from natten_mps\.Neighb"):
        Layer(15, 7)


def test_020_with_a_stride():
    """The one call that both take and whose meaning nothing tells: 0.3.3 was there first."""
    q = torch.randn(1, 11, 2, 8)
    v020, theirs = literal("v020"), compat.for_version("0.20.1")
    assert v020.na1d(q, q, q, 5, 2).shape == (1, 6, 2, 8)
    assert v020.functional.na1d(q, q, q, 5, 2).shape == theirs.na1d(q, q, q, 5, 2).shape == q.shape
    assert torch.equal(v020.na1d(q, q, q, 5, backend="flex-fna"), theirs.na1d(q, q, q, 5))
    out, lse = v020.na1d(q, q, q, 5, 1, 1, False, None, True)
    assert lse.shape == out.shape[:-1]


ADDITIONAL = {
    "v014": ["natten1dqkrpb", "natten1dav", "natten2dqkrpb", "natten2dav", "_FlopHandler"],
    "v015": ["na1d", "na2d", "na3d", "na1d_qk", "na3d_av", "has_mps", "has_fna"],
    "v017": ["na1d", "na2d", "na3d", "na1d_qk", "na3d_av", "has_mps", "add_natten_handle"],
    "v020": ["na1d_qk", "na2d_av", "has_cuda", "has_mps", "has_fna"],
}


@pytest.mark.parametrize("version", ADDITIONAL)
def test_additional_names(version):
    for module in (literal(version), compat.for_version("0." + version[2:])):
        for name in ADDITIONAL[version]:
            if module is literal(version) or not name.startswith("na1d"):
                assert hasattr(module, name)
    assert all(callable(getattr(literal(version), name)) for name in ADDITIONAL[version])


def test_functions_of_the_early_paths():
    q = torch.randn(1, 2, 7, 8, 4)
    bias = torch.randn(2, 5, 7)
    v014 = literal("v014")
    with pytest.raises(ValueError, match=r"rpb must have shape \[2, 5, 7\] for 2D\."):
        v014.natten2dqkrpb(q, q, bias[:, 1:], (3, 4), 1)
    with pytest.raises(ValueError, match="natten1dqkrpb expects query/key shape"):
        v014.natten1dqkrpb(q, q, bias, 3, 1)
    square = torch.randn(2, 5, 5)
    theirs = v014.functional
    logits = v014.natten2dqkrpb(q, q, square, (3, 3), (2, 2))
    assert torch.allclose(logits, theirs.natten2dqkrpb(q, q, square, 3, 2), atol=1e-5)
    out = v014.natten2dav(logits, q, 3, 2)
    assert torch.allclose(out, theirs.natten2dav(logits, q, 3, 2), atol=1e-5)
    x = torch.randn(1, 9, 2, 4)
    want = functional.na1d(x, x, x, 3, dilation=2, is_causal=True)
    for version in ("v015", "v017"):
        assert torch.equal(literal(version).na1d(x, x, x, 3, 2, True), want)
