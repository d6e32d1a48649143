# SPDX-License-Identifier: MIT
"""The modules."""

import copy
import pickle

import pytest
import torch

import natten_mps as nm
from natten_mps import nn

MODULES = {1: nm.NeighborhoodAttention1D, 2: nm.NeighborhoodAttention2D}
MODULES[3] = nm.NeighborhoodAttention3D
SPATIAL = {1: (9,), 2: (6, 7), 3: (4, 5, 3)}


def test_parameters_are_those_of_natten_mps():
    shapes = {n: tuple(p.shape) for n, p in MODULES[1](32, 4, 3).state_dict().items()}
    assert shapes == {
        "qkv.weight": (96, 32),
        "qkv.bias": (96,),
        "proj.weight": (32, 32),
        "proj.bias": (32,),
    }
    grouped = MODULES[2](32, 4, 3, num_kv_heads=2, qkv_bias=False).state_dict()
    assert {n: tuple(p.shape) for n, p in grouped.items()} == {
        "q_proj.weight": (32, 32),
        "kv_proj.weight": (32, 32),
        "proj.weight": (32, 32),
        "proj.bias": (32,),
    }
    assert "rpb" in MODULES[2](32, 4, 3, rel_pos_bias=True).state_dict()
    assert nn.NeighborhoodAttention1D is MODULES[1]


def by_hand(module, x, function):
    """The module's arithmetic, written out."""
    heads, dim = module.num_heads, module.head_dim
    if module._use_gqa:
        q = module.q_proj(x).reshape(*x.shape[:-1], heads, dim)
        k, v = module.kv_proj(x).reshape(*x.shape[:-1], 2, module.num_kv_heads, dim).unbind(-3)
    else:
        q, k, v = module.qkv(x).reshape(*x.shape[:-1], 3, heads, dim).unbind(-3)
    out = function(
        q,
        k,
        v,
        module.kernel_size,
        module.stride,
        module.dilation,
        module.is_causal,
        module.scale,
        rpb=module.rpb,
    )
    return module.proj(out.flatten(-2))


OPTIONS = [
    {},
    {"stride": 2},
    {"is_causal": True, "stride": 2},
    {"num_kv_heads": 2},
    {"qk_scale": 0.0, "qkv_bias": False},
    {"rel_pos_bias": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_equals_its_parts_in_eval(rank, options, drop):
    module = MODULES[rank](16, 4, 3, attn_drop=drop, proj_drop=drop, **options).eval()
    x = torch.randn(2, *SPATIAL[rank], 16)
    function = {1: nm.na1d, 2: nm.na2d, 3: nm.na3d}[rank]
    torch.testing.assert_close(module(x), by_hand(module, x, function))


def test_a_module_takes_its_scale():
    given, default = MODULES[1](16, 4, 3, qk_scale=2.0), MODULES[1](16, 4, 3)
    default.load_state_dict(given.state_dict())
    x = torch.randn(1, 9, 16)
    q, k, v = (t.unflatten(-1, (4, 4)) for t in given.qkv(x).chunk(3, -1))
    torch.testing.assert_close(given(x), given.proj(nm.na1d(q, k, v, 3, scale=2.0).flatten(-2)))
    torch.testing.assert_close(default(x), given.proj(nm.na1d(q, k, v, 3, scale=0.5).flatten(-2)))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_attention_dropout_is_unbiased(options):
    """The mean over many draws is the output without dropout, within five standard errors."""
    module = MODULES[1](16, 4, 3, attn_drop=0.3, **options).double()
    x = torch.randn(1, 9, 16, dtype=torch.float64)
    want = module.eval()(x)
    module.train()
    draws = torch.cat([module(x.expand(50, -1, -1)) for _ in range(40)])
    assert draws.std(0).max() > 0
    error = (draws.mean(0) - want[0]).abs() / (draws.std(0) / len(draws) ** 0.5 + 1e-12)
    assert error.max() < 5


def test_no_dropout_at_zero():
    module = MODULES[2](16, 4, 3, attn_drop=0.0)
    x = torch.randn(1, 5, 6, 16)
    torch.testing.assert_close(module.train()(x), module.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("drop", [0.0, 0.2])
def test_padding_of_a_ragged_batch_is_zero(drop):
    module = MODULES[2](16, 4, 3, stride=2, is_causal=(True, False), attn_drop=drop)
    x = torch.randn(2, 6, 7, 16, requires_grad=True)
    sizes = torch.tensor([[6, 7], [3, 5]])
    out = module(x, sizes)
    assert out.shape == (2, 3, 4, 16)
    assert (out[1, 2:] == 0).all()
    assert (out[1, :, 3:] == 0).all()
    if drop == 0:
        torch.testing.assert_close(out[1:, :2, :3], module(x[1:, :3, :5]))
    out.sum().backward()
    assert (x.grad[1, 3:] == 0).all()


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(clone):
    module = MODULES[1](16, 4, 3, num_kv_heads=2, rel_pos_bias=True)
    x = torch.randn(1, 9, 16)
    torch.testing.assert_close(clone(module)(x), module(x), rtol=0, atol=0)


def test_repr_and_reset():
    module = MODULES[2](16, 4, 3, dilation=2, qk_scale=1.0, num_kv_heads=2, rel_pos_bias=True)
    text = repr(module)
    for part in (
        "kernel_size=(3, 3)",
        "dilation=(2, 2)",
        "num_kv_heads=2",
        "qk_scale=1.0",
        "rel_pos_bias=True",
    ):
        assert part in text
    before = copy.deepcopy(module.state_dict())
    module.reset_parameters()
    assert all(not torch.equal(p, before[n]) for n, p in module.state_dict().items())


def test_trains():
    module = MODULES[1](16, 4, 3, attn_drop=0.1, proj_drop=0.1)
    x = torch.randn(4, 9, 16)
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    first = last = None
    for _ in range(60):
        optimizer.zero_grad()
        loss = (module(x) - x.roll(1, 1)).square().mean()
        loss.backward()
        optimizer.step()
        first, last = first or loss.item(), loss.item()
    assert last < 0.6 * first
