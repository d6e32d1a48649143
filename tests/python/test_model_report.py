# SPDX-License-Identifier: MIT
"""viz.report against gradients, which reach what a token depends on, and the FLOP counter."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import natten_mps as nm
from natten_mps import viz

MODULES = {
    1: nm.NeighborhoodAttention1D,
    2: nm.NeighborhoodAttention2D,
    3: nm.NeighborhoodAttention3D,
}
SHAPES = {1: (24,), 2: (12, 9), 3: (4, 8, 6)}


class Pool(nn.Module):
    """Means of two neighbors along the last axis."""

    def forward(self, x):
        return x.unflatten(-2, (-1, 2)).mean(-2)


def stack(rank, *rules):
    return nn.Sequential(*(MODULES[rank](8, 2, **rule) for rule in rules)).double()


def reached(model, shape):
    """Which tokens of the input the middle token of the output depends on."""
    x = torch.randn(1, *shape, 8, dtype=torch.float64, requires_grad=True)
    out = model(x)
    middle = tuple(n // 2 for n in out.shape[1:-1])
    out[(0, *middle)].sum().backward()
    return x.grad[0].abs().sum(-1) > 0


def spans(seen):
    places = seen.nonzero()
    return tuple((places.max(0).values - places.min(0).values + 1).tolist())


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "rules",
    [
        ({"kernel_size": 3},),
        ({"kernel_size": 3}, {"kernel_size": 2, "dilation": 2}),
        ({"kernel_size": 3, "is_causal": True}, {"kernel_size": 4, "window_stride": 2}),
        ({"kernel_size": 3}, {"kernel_size": 2, "dilation": 2}, {"kernel_size": 3}),
    ],
)
def test_receptive_field_is_what_gradients_reach(rank, rules):
    torch.manual_seed(3)
    model = stack(rank, *rules)
    found = viz.report(model, torch.zeros(1, *SHAPES[rank], 8, dtype=torch.float64)).layers
    assert [layer.name for layer in found] == [str(i) for i in range(len(rules))]
    for i, layer in enumerate(found):
        seen = reached(model[: i + 1], SHAPES[rank])
        assert layer.reach == spans(seen)
        assert layer.receptive_field == pytest.approx(float(seen.double().mean()))


def test_resolution_changes_between_layers():
    first, second = MODULES[1](8, 2, 3).double(), MODULES[1](8, 2, 3).double()
    model = nn.Sequential(first, Pool(), second)
    layers = viz.report(model, torch.zeros(1, 24, 8, dtype=torch.float64)).layers
    assert [layer.tokens for layer in layers] == [(24,), (12,)]
    assert layers[1].reach == spans(reached(model, (24,)))


def test_cost_is_half_of_the_flops_counted():
    model = stack(2, {"kernel_size": 3}, {"kernel_size": 5, "num_kv_heads": 1})
    x = torch.zeros(2, 12, 9, 8, dtype=torch.float64)
    layers = viz.report(model, x).layers
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    counted = counter.get_flop_counts()["Global"]
    attention = sum(n for op, n in counted.items() if "natten_mps" in str(op))
    assert 2 * sum(layer.cost for layer in layers) == pytest.approx(attention, rel=1e-12)
    assert layers[0].full_cost == pytest.approx(layers[0].cost * 108 / 9)
    assert layers[0].share == pytest.approx(9 / 108)


def test_split_operations_are_one_layer():
    class Split(nn.Module):
        def forward(self, x, scale):
            weights = nm.na1d_qk(x, x, 5, dilation=2).mul(scale).softmax(-1)
            return nm.na1d_av(weights, x, 5, dilation=2)

    found = viz.report(Split(), {"x": torch.zeros(1, 20, 2, 4), "scale": 0.5})
    (layer,) = found.layers
    assert (layer.kernel_size, layer.dilation, layer.heads) == ((5,), (2,), 2)
    assert layer.cost == pytest.approx(20 * 5 * 2 * (4 + 4), rel=1e-12)
    lines = str(found).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:4] == ["Split", "20", "2", "5"]


def test_the_model_is_left_as_it_was(tmp_path):
    model = stack(1, {"kernel_size": 3, "attn_drop": 0.5}).train()
    viz.report(model, torch.zeros(1, 9, 8, dtype=torch.float64), path=tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"Linear, which called no neighborhood attention \(want"):
        viz.report(nn.Linear(3, 3), torch.zeros(1, 3))
    with pytest.raises((ValueError, RuntimeError)):
        viz.report(model, torch.zeros(1, 2, 8, dtype=torch.float64))
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_comparison_counts_keys():
    figure = viz.comparison(length=10, kernel_size=3, query=(0, 4))
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["100 keys", "6 keys", "9 keys", "9 keys", "side of the image, tokens"]
