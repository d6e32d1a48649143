# SPDX-License-Identifier: MIT
# ruff: noqa: E501 - the table has one row per line: trigger and message
"""Bad input is refused with the messages of 0.3.3, including what 0.3.3 did not notice."""

import re

import numpy
import pytest
import torch

import natten_mps as nm
from natten_mps import ops
from natten_mps.extras import allin1


def t(*shape, dtype=torch.float32):
    return torch.zeros(shape, dtype=dtype)


Q = t(1, 12, 4, 8)
Q2 = t(1, 5, 6, 2, 4)
Q3 = t(1, 5, 6, 7, 2, 4)
S12, S10 = torch.Size([12]), torch.Size([10])


def seq(*lengths):
    return torch.tensor(lengths)


def extra(keys, values=None):
    return {"additional_keys": keys, "additional_values": keys if values is None else values}


ONE = "(want a positive integer, or a sequence of 1, one per axis)."
TWO = "(want a positive integer, or a sequence of 2, one per axis)."
FLAGS = "(want True or False, or a sequence of 1, one per axis)."
VALUES = {
    "rank 1": (lambda: nm.na1d(Q2, Q2, Q2, 3), "na1d expects query/key/value with shape [B, L, H, D]."),
    "rank 2": (lambda: nm.na2d(Q, Q, Q, 3), "na2d expects query/key/value with shape [B, H, W, heads, dim]."),
    "rank 3": (lambda: nm.na3d(Q, Q, Q, 3), "na3d expects query/key/value with shape [B, D, H, W, heads, dim]."),
    "spatial": (lambda: nm.na1d(Q, t(1, 10, 4, 8), Q, 3), f"Spatial dimensions must match: Q={S12}, K={S10}, V={S12}."),
    "batch": (lambda: nm.na1d(Q, t(2, 12, 4, 8), Q, 3), "Batch dimensions must match."),
    "q/k dim": (lambda: nm.na1d(Q, t(1, 12, 4, 9), Q, 3), "Head dim must match between Q and K: Q has 8, K has 9."),
    "k/v heads": (lambda: nm.na1d(Q, Q, t(1, 12, 2, 8), 3), "K and V must have same number of heads: K=4, V=2."),
    "GQA": (lambda: nm.na1d(Q, t(1, 12, 3, 8), t(1, 12, 3, 8), 3), "heads_q (4) must be divisible by heads_kv (3) for GQA."),
    "GQA by zero": (lambda: nm.na1d(Q, t(1, 12, 0, 8), t(1, 12, 0, 8), 3), "heads_q (4) must be divisible by heads_kv (0) for GQA."),
    "K > n": (lambda: nm.na1d(Q, Q, Q, 13), "kernel_size[0]=13 cannot exceed input spatial size 12."),
    "stride > K": (lambda: nm.na1d(Q, Q, Q, 3, stride=4), "stride[0]=4 must be <= kernel_size[0]=3."),
    "K*d > n": (lambda: nm.na1d(Q, Q, Q, 5, dilation=3), "dilation[0] * kernel_size[0] = 15 exceeds input spatial size 12."),
    "float": (lambda: nm.na1d(Q, Q, Q, 3.0), f"kernel_size is 3.0 {ONE}"),
    "None": (lambda: nm.na2d(Q2, Q2, Q2, None), f"kernel_size is None {TWO}"),
    "numpy": (lambda: nm.na1d(Q, Q, Q, numpy.float32(3)), f"kernel_size is np.float32(3.0) {ONE}"),
    "longer text": (lambda: nm.na1d(Q, Q, Q, "33"), f"kernel_size is '33' {ONE}"),
    "text": (lambda: nm.na1d(Q, Q, Q, "3"), f"kernel_size is '3' {ONE}"),
    "set": (lambda: nm.na1d(Q, Q, Q, {3}), f"kernel_size is {{3}} {ONE}"),
    "length": (lambda: nm.na1d(Q, Q, Q, (3, 3)), "kernel_size must have length 1, got 2."),
    "stride 0": (lambda: nm.na1d(Q, Q, Q, 3, stride=0), "stride values must be > 0, got 0."),
    "dilation -1": (lambda: nm.na1d(Q, Q, Q, 3, dilation=-1), "dilation values must be > 0, got -1."),
    "is_causal -1": (lambda: nm.na1d(Q, Q, Q, 3, is_causal=-1), f"is_causal is -1 {FLAGS}"),
    "is_causal text": (lambda: nm.na1d(Q, Q, Q, 3, is_causal="yes"), f"is_causal is 'yes' {FLAGS}"),
    "window_stride > K": (lambda: nm.na1d(Q, Q, Q, 3, window_stride=4), "window_stride[0]=4 must be <= kernel_size[0]=3."),
    "bool kernel": (lambda: nm.na1d(Q, Q, Q, True), "kernel_size must contain integers, not bools."),
    "mixed": (lambda: nm.na2d(Q2, Q2, Q2, (3, True)), "kernel_size cannot mix bool and int values."),
    "element": (lambda: nm.na2d(Q2, Q2, Q2, (3, 2.0)), f"kernel_size is (3, 2.0) {TWO}"),
    "extra alone": (lambda: nm.na1d(Q, Q, Q, 3, additional_keys=Q), "additional_keys and additional_values must both be provided or both None."),
    "extra rank": (lambda: nm.na1d(Q, Q, Q, 3, **extra(t(1, 2, 8))), "additional_keys/additional_values must be 4D: [B, N_extra, heads_kv, dim]."),
    "extra batch": (lambda: nm.na1d(Q, Q, Q, 3, **extra(t(2, 2, 4, 8))), "additional_keys batch must match query batch."),
    "extra values batch": (lambda: nm.na1d(Q, Q, Q, 3, **extra(t(1, 2, 4, 8), t(2, 2, 4, 8))), "additional_values batch must match query batch."),
    "extra dim": (lambda: nm.na1d(Q, Q, Q, 3, **extra(t(1, 2, 4, 7))), "additional_keys head dim must match query head dim."),
    "extra values dim": (lambda: nm.na1d(Q, Q, Q, 3, **extra(t(1, 2, 4, 8), t(1, 2, 4, 7))), "additional_values head dim must match query head dim."),
    "extra heads": (lambda: nm.na1d(Q, Q, Q, 3, **extra(t(1, 2, 4, 8), t(1, 2, 2, 8))), "additional_keys and additional_values must have same number of heads."),
    "extra number": (lambda: nm.na1d(Q, Q, Q, 3, **extra(t(1, 2, 4, 8), t(1, 3, 4, 8))), "additional_keys and additional_values must have same N_extra."),
    "extra kv heads": (lambda: nm.na1d(Q, Q, Q, 3, **extra(t(1, 2, 2, 8))), "additional_keys has 2 heads, key and value have 4 (want the same)."),
    "qk rank": (lambda: nm.na1d_qk(Q2, Q2, 3), "na1d_qk expects query/key with shape [B, L, H, D]."),
    "qk shape": (lambda: nm.na1d_qk(Q, t(1, 11, 4, 8), 3), "query and key must share the same shape in na1d_qk."),
    "av attn rank": (lambda: nm.na1d_av(Q2, Q, 3), "na1d_av expects attn with shape [B, L, H, K]."),
    "av value rank": (lambda: nm.na1d_av(t(1, 12, 4, 3), Q2, 3), "na1d_av expects value with shape [B, L, H, D]."),
    "av heads": (lambda: nm.na1d_av(t(1, 12, 3, 3), Q, 3), "na1d_av requires attn/value to match on batch and heads dimensions."),
    "av length": (lambda: nm.na1d_av(t(1, 13, 4, 3), Q, 3), "na1d_av attn sequence length cannot exceed value sequence length."),
    "av size": (lambda: nm.na2d_av(t(1, 6, 6, 2, 9), Q2, 3), "na2d_av attn spatial size cannot exceed value spatial size."),
    "av slots 1": (lambda: nm.na1d_av(t(1, 12, 4, 5), Q, 3), "na1d_av attn last dim (5) must match kernel_size (3)."),
    "av slots 2": (lambda: nm.na2d_av(t(1, 5, 6, 2, 5), Q2, 3), "na2d_av attn last dim (5) must match kernel area (9)."),
    "av slots 3": (lambda: nm.na3d_av(t(1, 5, 6, 7, 2, 5), Q3, 3), "na3d_av attn last dim (5) must match kernel volume (27)."),
    "av short": (lambda: nm.na1d_av(t(1, 11, 4, 3), Q, 3), "attn has positions (11,), which do not fit value's (12,) (want (12,))"),
    "varlen rank": (lambda: nm.na1d_varlen(Q2, Q2, Q2, seq(5), 3), "na1d_varlen expects query/key/value with shape [B, L, H, D]."),
    "varlen shapes": (lambda: nm.na1d_varlen(Q, t(1, 11, 4, 8), Q, seq(5), 3), "query, key, and value must have identical shapes."),
    "varlen sizes": (lambda: nm.na1d_varlen(Q, Q, Q, seq(5)[None], 3), "seq_lens must be a 1-D tensor of length B=1, got shape (1, 1)."),
    "varlen dtype": (lambda: nm.na1d_varlen(Q, Q, Q, t(1), 3), "seq_lens must be int32 or int64, got torch.float32."),
    "varlen small": (lambda: nm.na1d_varlen(Q, Q, Q, seq(2), 3), "All seq_lens must be >= kernel_size (3), but min(seq_lens)=2."),
    "varlen dilated": (lambda: nm.na1d_varlen(Q, Q, Q, seq(5), 3, 2), "All seq_lens must be >= dilation * kernel_size (6), but min(seq_lens)=5."),
    "varlen large": (lambda: nm.na1d_varlen(Q, Q, Q, seq(13), 3), "All seq_lens must be <= L_max (12), but max(seq_lens)=13."),
    "varlen 2d sizes": (lambda: nm.na2d_varlen(Q2, Q2, Q2, seq(5, 6), 3), "spatial_sizes must be a [B, 2] tensor, got shape (2,)."),
    "varlen 2d dtype": (lambda: nm.na2d_varlen(Q2, Q2, Q2, t(1, 2), 3), "spatial_sizes must be int32 or int64, got torch.float32."),
    "varlen 2d small": (lambda: nm.na2d_varlen(Q2, Q2, Q2, seq(2, 6)[None], 3), "All spatial_sizes[:,0] must be >= kernel_size[0] (3), but min=2."),
    "varlen 2d large": (lambda: nm.na2d_varlen(Q2, Q2, Q2, seq(5, 7)[None], 3), "All spatial_sizes[:,1] must be <= max_spatial[1] (6), but max=7."),
    "merge one": (lambda: nm.merge_attentions([Q], [Q[..., 0]]), "merge_attentions expects at least two outputs."),
    "merge number": (lambda: nm.merge_attentions([Q, Q], [Q[..., 0]]), "Number of outputs and LSE tensors must match."),
    "merge output": (lambda: nm.merge_attentions([Q, Q2], [Q[..., 0]] * 2), f"Output 1 shape {Q2.shape} does not match output 0 shape {Q.shape}."),
    "merge lse": (lambda: nm.merge_attentions([Q, Q], [Q[..., 0], Q]), f"LSE 1 shape {Q.shape} does not match expected {Q.shape[:-1]}."),
    "module dim": (lambda: nm.NeighborhoodAttention1D(10, 4, 3), "embed_dim must be divisible by num_heads"),
    "module kv": (lambda: nm.NeighborhoodAttention1D(8, 4, 3, num_kv_heads=3), "num_heads (4) must be divisible by num_kv_heads (3)"),
    "module qkv_bias as kv heads": (lambda: nm.NeighborhoodAttention1D(32, 4, 5, 1, 1, False, True), "num_heads (4) must be divisible by num_kv_heads (True)"),
    "module bool kernel": (lambda: nm.NeighborhoodAttention1D(8, 2, True), "kernel_size must contain integers, not bools."),
    "module rank": (lambda: nm.NeighborhoodAttention1D(8, 2, 3)(Q), "NeighborhoodAttention1D expects input shape [B, L, C]."),
    "module channels": (lambda: nm.NeighborhoodAttention1D(32, 4, 3)(t(1, 9, 16)), "Input channel dim (16) must equal embed_dim (32)."),
    "backend": (lambda: nm.set_backend("cuda"), "Unknown backend 'cuda'. Expected one of: ['auto', 'pure', 'metal'"),
    "backend type": (lambda: nm.set_backend(None), "Unknown backend None. Expected one of: ['auto', 'pure', 'metal'"),
    "extras rank": (lambda: allin1.na1d_qk_rpb(Q2, Q2, None, 3), "query must be 4D [B, L, H, D], got shape (1, 5, 6, 2, 4)"),
    "extras av": (lambda: allin1.na1d_av_fused(Q2, Q2, 3), "attn and value must be 4D for na1d_av_fused"),
    "extras length": (lambda: allin1.na1d_qk_rpb(Q, Q, None, 5, 3), "Invalid NATTEN args on length: kernel_size * dilation must be <= axis length. Got kernel_size=5, dilation=3, length=12."),
    "mixed dtypes": (lambda: nm.na1d(Q, Q.half(), Q, 3), "query is torch.float32 but key is torch.float16 (want one dtype)"),
    "mixed devices": (lambda: nm.na1d(Q, Q.to("meta"), Q, 3), "query is on cpu but key is on meta (want one device)"),
    "NaN scale": (lambda: nm.na1d(Q, Q, Q, 3, scale=float("nan")), "scale is nan (want a finite number)"),
    "rpb shape": (lambda: nm.na1d(Q, Q, Q, 3, rpb=t(4, 6)), "rpb has sizes (4, 6), which do not fit the window (want (4, 5))"),
    "head dim": (lambda: nm.na1d(*[t(1, 3, 1, 5000)] * 3, 3), "head_dim is 5000 (want 1 to 4096)"),
}  # fmt: skip


@pytest.mark.parametrize("trigger", VALUES)
def test_value_error(trigger):
    provoke, text = VALUES[trigger]
    with pytest.raises(ValueError, match="^" + re.escape(text)):
        provoke()


def test_backend_that_cannot_run():
    if nm.has_metal():
        pytest.skip("Metal runs here")
    text = (
        "Backend 'metal' is not available in this build. Use set_backend('pure') or"
        " set_backend('auto')."
    )
    with pytest.raises(NotImplementedError, match=re.escape(text)):
        nm.set_backend("metal")


def test_not_a_tensor():
    with pytest.raises(TypeError, match="na1d expects query to be a tensor, got list"):
        nm.na1d([1.0], Q, Q, 3)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_dtype(dtype):
    with pytest.raises(NotImplementedError, match="want one of torch"):
        nm.na1d(*[t(1, 5, 1, 2, dtype=dtype)] * 3, 3)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="module 'natten_mps' has no attribute 'foo'"):
        _ = nm.foo


@pytest.mark.parametrize("name", ["native", "pure"])
def test_sizes_that_do_not_fit(name):
    nm.set_backend(name)
    window = ops.Window((3,), (1,), (1,), (1,), (False,))
    for size in (2, 13):
        text = f"size {size} of sample 0 on axis 0 (want kernel * dilation = 3 to length 12)"
        with pytest.raises(ValueError, match=re.escape(text)):
            ops.attn(Q, Q, Q, window=window, sizes=seq(size)[None])
    with pytest.raises(ValueError, match="sizes has sizes"):
        ops.attn(Q, Q, Q, window=window, sizes=seq(5, 5)[None])
    with pytest.raises(ValueError, match="want integers"):
        ops.attn(Q, Q, Q, window=window, sizes=seq(5)[None] * 1.0)


def test_defaults_spelled_none_or_zero():
    x = torch.randn(1, 12, 4, 8)
    want = nm.na1d(x, x, x, 3)
    assert torch.equal(nm.na1d(x, x, x, 3, None, None, None), want)
    assert torch.equal(nm.na1d(x, x, x, 3, is_causal=0), want)
    assert torch.equal(nm.na1d(x, x, x, 3, is_causal=1), nm.na1d(x, x, x, 3, is_causal=True))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_scale_on_pure(scale):
    nm.set_backend("pure")
    with pytest.raises(ValueError, match=f"scale is {scale}"):
        nm.na1d(Q, Q, Q, 3, scale=scale)


def test_errors_leave_the_backend_as_it_was():
    nm.set_backend("pure")
    with pytest.raises(ValueError, match="Unknown backend"):
        nm.set_backend("gpu")
    assert nm.get_backend() == "pure"
    nm.set_backend("nanobind")
    assert nm.get_backend() == "native"
