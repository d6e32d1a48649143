# SPDX-License-Identifier: MIT
"""The layers of every generation as nn.Modules, and NAT's way of building them."""

import copy
import io
import pickle

import pytest
import torch

from natten_mps.compat import for_version

v014, v015, v017, v020, v021 = map(for_version, ("0.14", "0.15", "0.17", "0.20", "0.21.7"))

LAYERS = {
    "0.14 1D": (lambda: v014.NeighborhoodAttention1D(16, 2, 3, dilation=2), (2, 9)),
    "0.14 2D": (lambda: v014.NeighborhoodAttention2D(16, 2, 3), (2, 5, 6)),
    "0.15 1D": (lambda: v015.NeighborhoodAttention1D(16, 2, 3, bias=False), (2, 9)),
    "0.15 2D": (lambda: v015.NeighborhoodAttention2D(16, 2, 3), (2, 2, 6)),
    "0.15 3D": (lambda: v015.NeighborhoodAttention3D(16, 2, 3, 5), (1, 5, 3, 4)),
    "0.17 1D": (lambda: v017.NeighborhoodAttention1D(16, 2, 3, is_causal=True), (2, 9)),
    "0.17 2D": (lambda: v017.NeighborhoodAttention2D(16, 2, (3, 5), rel_pos_bias=True), (2, 5, 6)),
    "0.17 3D": (lambda: v017.NeighborhoodAttention3D(16, 2, 3), (1, 4, 3, 4)),
    "0.20 1D": (lambda: v020.NeighborhoodAttention1D(16, 2, 4, 2), (2, 9)),
    "0.20 2D": (lambda: v020.NeighborhoodAttention2D(16, 2, (2, 3), qk_scale=0.3), (2, 5, 6)),
    "0.20 3D": (lambda: v020.NeighborhoodAttention3D(16, 2, 3, is_causal=True), (1, 4, 3, 4)),
    "0.21 1D": (lambda: v021.NeighborhoodAttention1D(16, 2, 4, dilation=2), (2, 9)),
    "0.21 2D": (lambda: v021.NeighborhoodAttention2D(16, 2, 3, qkv_bias=False), (2, 5, 6)),
    "0.21 3D": (lambda: v021.NeighborhoodAttention3D(16, 2, (2, 3, 2)), (1, 4, 3, 4)),
    "0.21 generic": (lambda: v021.modules.NeighborhoodAttentionGeneric(1, 16, 2, 3), (2, 9)),
}


@pytest.fixture(params=LAYERS)
def layer_and_input(request):
    make, shape = LAYERS[request.param]
    return make().eval(), torch.randn(*shape, 16)


def _saved(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def test_copies_compute_the_same(layer_and_input):
    layer, x = layer_and_input
    want = layer(x)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), _saved(layer)):
        assert torch.equal(copied(x), want)
        assert repr(copied) == repr(layer)


def test_state_dict_round_trip(layer_and_input):
    layer, x = layer_and_input
    other = copy.deepcopy(layer)
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter)
    assert not torch.equal(other(x), layer(x))
    other.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(other(x), layer(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(layer_and_input, dtype):
    layer, x = layer_and_input
    want = layer(x)
    x = x.to(dtype).requires_grad_()
    out = copy.deepcopy(layer).to(dtype)(x)
    out.sum().backward()
    assert out.dtype == x.grad.dtype == dtype
    tolerance = {torch.float16: 5e-3, torch.bfloat16: 5e-2, torch.float64: 1e-5}[dtype]
    assert torch.allclose(out.float(), want, atol=tolerance, rtol=tolerance)


@pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning"
)
def test_recorded_traces_compute_the_same(layer_and_input):
    """Up to 0.17, a trace has two functions with upstream's names, one after the other."""
    layer, x = layer_and_input
    with torch.no_grad():
        recorded = torch.jit.trace(layer, (x,), check_trace=False)
        torch.testing.assert_close(recorded(2 * x), layer(2 * x))


def test_half_and_bfloat16_methods(layer_and_input):
    layer, x = layer_and_input
    assert copy.deepcopy(layer).half()(x.half()).dtype == torch.float16
    assert copy.deepcopy(layer).bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_autocast(layer_and_input):
    layer, x = layer_and_input
    x.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert x.grad.dtype == torch.float32
    assert all(p.grad is not None and p.grad.dtype == p.dtype for p in layer.parameters())
    assert torch.allclose(out.float(), layer(x), atol=5e-2, rtol=5e-2)


def test_moves_to_the_meta_device(layer_and_input):
    layer, _ = layer_and_input
    moved = layer.to("meta")
    assert {p.device.type for p in moved.parameters()} == {"meta"}


@pytest.mark.parametrize("version", [v014, v015, v017])
def test_attention_dropout(version):
    x = torch.randn(2, 6, 6, 16)
    layer = version.NeighborhoodAttention2D(16, 2, 3, attn_drop=0.5)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_fused_017_layer_is_the_split_one():
    for options in ({"rel_pos_bias": True}, {"is_causal": (True, False)}, {"qk_scale": 0.2}):
        layer = v017.NeighborhoodAttention2D(16, 2, (3, 5), **options)
        x = torch.randn(2, 7, 6, 16)
        want = layer(x)
        v017.use_fused_na(True)
        got = layer(x)
        v017.context.NattenContext.reset()
        assert torch.allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("version", [v014, v015, v017])
@pytest.mark.parametrize("dilation", [None, 2])
def test_built_as_nat_and_dinat_do(version, dilation):
    """Dim by position, the rest by keyword; the bias's name depends on `natten.context`."""
    bias = {"rel_pos_bias": True} if hasattr(version, "context") else {"bias": True}
    layer = version.NeighborhoodAttention2D(
        64,
        kernel_size=7,
        dilation=dilation,
        num_heads=2,
        qkv_bias=True,
        qk_scale=None,
        attn_drop=0.0,
        proj_drop=0.0,
        **bias,
    )
    assert list(layer.state_dict()) == [
        "rpb",
        "qkv.weight",
        "qkv.bias",
        "proj.weight",
        "proj.bias",
    ]
    assert layer.rpb.shape == (2, 13, 13)
    assert layer.rpb.any()
    x = torch.randn(1, 14, 15, 64)
    assert layer(x).shape == x.shape
    small = torch.randn(1, 5, 6, 64)
    if version is v017:
        with pytest.raises(RuntimeError, match="greater than or equal to"):
            layer(small)
    else:
        assert layer(small).shape == small.shape


def test_built_as_nat_does_for_newer_natten():
    with pytest.raises(TypeError, match=r"rel_pos_bias|attn_drop"):
        v020.NeighborhoodAttention2D(64, kernel_size=7, num_heads=2, attn_drop=0.0, rel_pos_bias=1)


def test_checkpoints_go_from_one_generation_to_the_next():
    x = torch.randn(1, 9, 8, 32)
    old = v014.NeighborhoodAttention2D(32, 4, 3, dilation=2)
    new = v015.NeighborhoodAttention2D(32, 4, 3, dilation=2)
    newer = v017.NeighborhoodAttention2D(32, 4, 3, dilation=2, rel_pos_bias=True)
    for layer in (new, newer):
        layer.load_state_dict(old.state_dict(), strict=True)
        assert torch.allclose(layer(x), old(x), atol=1e-6)
    plain = v017.NeighborhoodAttention2D(32, 4, 3, dilation=2)
    newest = v021.NeighborhoodAttention2D(32, 4, 3, dilation=2)
    with pytest.raises(RuntimeError, match="rpb"):
        newest.load_state_dict(old.state_dict(), strict=True)
    newest.load_state_dict(plain.state_dict(), strict=True)
    assert torch.allclose(newest(x), plain(x), atol=1e-6)


def test_without_bias_the_attribute_exists():
    layer = v014.NeighborhoodAttention1D(16, 2, 3, bias=False)
    assert layer.rpb is None
    assert "rpb" not in layer.state_dict()
