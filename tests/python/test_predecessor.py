# SPDX-License-Identifier: MIT
"""Names and places that natten-mps 0.3.3 has, and what they do."""

import importlib

import pytest
import torch

from natten_mps import compat
from natten_mps.extras.allin1 import metal, reference_impl
from natten_mps.utils import window

# Public names of 0.3.3's modules beside those that test_modules.py and others call.
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


def test_functional_has_no_other_names():
    with pytest.raises(AttributeError, match="no attribute 'NA4DQKFunction'"):
        _ = importlib.import_module("natten_mps.functional").NA4DQKFunction


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

    functional = compat.for_version("0.14.6").functional
    logits = getattr(functional, f"natten{rank}dqkrpb")(query, key, bias, 3, 2)
    out = getattr(functional, f"natten{rank}dav")(logits, value, 3, 2)
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
