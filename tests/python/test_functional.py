# SPDX-License-Identifier: MIT
"""The public functions: what their parameters mean."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import natten_mps as nm
from natten_mps import ops
from natten_mps.extras import allin1
from natten_mps.extras.allin1 import functional as old_names
from natten_mps.functional import na1d_packed
from natten_mps.utils import window as windows
from natten_mps.utils.params import make_window

FUSED = {1: nm.na1d, 2: nm.na2d, 3: nm.na3d}
QK = {1: nm.na1d_qk, 2: nm.na2d_qk, 3: nm.na3d_qk}
AV = {1: nm.na1d_av, 2: nm.na2d_av, 3: nm.na3d_av}
VARLEN = {1: nm.na1d_varlen, 2: nm.na2d_varlen, 3: nm.na3d_varlen}
SPATIAL = {1: (11,), 2: (7, 6), 3: (5, 4, 6)}


def random(rank, heads=2, dim=4, batch=2):
    return torch.randn(batch, *SPATIAL[rank], heads, dim, dtype=torch.float64)


def qkv(rank, **sizes):
    return tuple(random(rank, **sizes) for _ in range(3))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("causal", [False, True])
def test_stride_picks_every_other_query(rank, causal):
    q, k, v = qkv(rank)
    every = FUSED[rank](q, k, v, 3, is_causal=causal)
    picked = FUSED[rank](q, k, v, 3, 2, 1, causal)
    torch.testing.assert_close(picked, every[(slice(None), *[slice(None, None, 2)] * rank)])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_split_operations_make_the_fused_one(rank):
    q, k, v = qkv(rank)
    options = {"dilation": 1, "stride": 2, "is_causal": True}
    logits = QK[rank](q, k, 3, scale=0.3, **options)
    out = AV[rank](logits.softmax(-1), v, 3, **options)
    want, lse = FUSED[rank](q, k, v, 3, 2, 1, True, 0.3, True)
    torch.testing.assert_close(out, want)
    torch.testing.assert_close(logits.logsumexp(-1), lse)


@pytest.mark.parametrize("name", ["native", "pure"])
def test_causal_slots_mask_first_and_end_with_the_query_itself(name):
    q, k, _ = qkv(1)
    with nm.use_backend(name):
        logits = nm.na1d_qk(q, k, 3, is_causal=True, scale=-1.0)
    assert (logits[:, 0, :, :2] == -torch.inf).all()
    assert logits[:, 2:].isfinite().all()
    torch.testing.assert_close(logits[..., -1], -(q * k).sum(-1))


@pytest.mark.parametrize("name", ["native", "pure"])
def test_padding_sees_no_additional_tokens(name):
    q, k, v = qkv(1)
    extra, sizes = torch.randn(2, 3, 2, 4, dtype=torch.float64), torch.tensor([11, 5])
    tokens = {"additional_keys": extra, "additional_values": extra}
    with nm.use_backend(name):
        out, lse = nm.na1d_varlen(q, k, v, sizes, 3, return_lse=True, **tokens)
        alone = nm.na1d(q[1:, :5], k[1:, :5], v[1:, :5], 3, additional_keys=extra[1:], additional_values=extra[1:])  # fmt: skip  # noqa: E501
    torch.testing.assert_close(out[1:, :5], alone)
    assert (out[1, 5:] == 0).all()
    assert (lse[1, 5:] == -torch.inf).all()


def test_av_ignores_masked_weights():
    *_, v = qkv(1)
    weights = torch.rand(2, 11, 2, 3, dtype=torch.float64)
    want = nm.na1d_av(weights, v, 3, is_causal=True)
    weights[:, 0, :, :2] = torch.nan
    weights[:, 1, :, :1] = torch.inf
    torch.testing.assert_close(nm.na1d_av(weights, v, 3, is_causal=True), want)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_full_window_is_ordinary_attention(rank):
    q, k, v = qkv(rank)
    out = FUSED[rank](q, k, v, SPATIAL[rank])
    flat = (x.flatten(1, -3).transpose(1, 2) for x in (q, k, v))
    want = scaled_dot_product_attention(*flat).transpose(1, 2).reshape(out.shape)
    torch.testing.assert_close(out, want)


def test_grouped_heads_and_another_value_dim():
    q, k, v = random(2, heads=4), random(2, heads=2), random(2, heads=2, dim=3)
    out = nm.na2d(q, k, v, 3)
    want = nm.na2d(q, k.repeat_interleave(2, -2), v.repeat_interleave(2, -2), 3)
    assert out.shape == (*q.shape[:-1], 3)
    torch.testing.assert_close(out, want)
    split = nm.na2d_av(nm.na2d_qk(q, k, 3, scale=0.5).softmax(-1), v, 3)
    torch.testing.assert_close(split, out)


@pytest.mark.parametrize("stride", [1, 2])
def test_additional_tokens_equal_a_merge(stride):
    q, k, v = random(1), random(1), random(1, dim=3)
    ek, ev = torch.randn(2, 5, 2, 4).double(), torch.randn(2, 5, 2, 3).double()
    out, lse = nm.na1d(q, k, v, 3, stride, 1, False, None, True, ek, ev)
    near = nm.na1d(q, k, v, 3, stride, return_lse=True)
    logits = torch.einsum("blhd,bthd->blht", q[:, ::stride], ek) / 2
    far = torch.einsum("blht,bthd->blhd", logits.softmax(-1), ev)
    want, want_lse = nm.merge_attentions([near[0], far], [near[1], logits.logsumexp(-1)])
    torch.testing.assert_close(out, want)
    torch.testing.assert_close(lse, want_lse)


def test_zero_scale_is_a_scale():
    q, k, v = qkv(1)
    _, lse = nm.na1d(q, k, v, 3, scale=0.0, return_lse=True)
    torch.testing.assert_close(lse, torch.full_like(lse, 3.0).log())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lse_is_float32(dtype):
    q = torch.randn(1, 8, 2, 4, dtype=dtype)
    out, lse = nm.na1d(q, q, q, 3, return_lse=True)
    assert out.dtype == dtype
    assert lse.dtype == torch.float32


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("causal", [False, True])
def test_varlen_equals_each_sample_alone(rank, stride, causal):
    q, k, v = random(rank, heads=4), random(rank), random(rank)
    ek, ev = torch.randn(2, 3, 2, 4).double(), torch.randn(2, 3, 2, 4).double()
    most = torch.tensor(SPATIAL[rank])
    sizes = torch.stack([most, torch.clamp(most - 2, min=3)])
    given = sizes[:, 0] if rank == 1 else sizes
    tensors = [x.requires_grad_() for x in (q, k, v, ek, ev)]
    options = {"is_causal": causal, "return_lse": True}
    more = {"additional_keys": ek, "additional_values": ev}
    out, lse = VARLEN[rank](q, k, v, given.int(), 3, 1, None, stride=stride, **options, **more)
    total = 0
    for b, size in enumerate(sizes.tolist()):
        inside = (b, *[slice(n) for n in size])
        kept = (b, *[slice(-(-n // stride)) for n in size])
        alone = FUSED[rank](
            *(x[inside][None] for x in (q, k, v)),
            3,
            stride,
            **options,
            additional_keys=ek[b : b + 1],
            additional_values=ev[b : b + 1],
        )
        torch.testing.assert_close(out[kept], alone[0][0])
        torch.testing.assert_close(lse[kept], alone[1][0])
        total = total + alone[0].square().sum() + alone[1].sum()
        rest = torch.ones(out.shape[1:-2], dtype=torch.bool)
        rest[kept[1:]] = False
        assert (out[b][rest] == 0).all()
        assert (lse[b][rest] == -torch.inf).all()
    loss = out.square().sum() + lse.masked_fill(lse == -torch.inf, 0).sum()
    want = torch.autograd.grad(total, tensors)
    for got, gradient in zip(torch.autograd.grad(loss, tensors), want, strict=True):
        torch.testing.assert_close(got, gradient)


def test_views_with_offsets_and_strides_are_read_in_place():
    store = torch.randn(2, 3, 30, 5, 7, dtype=torch.float64)
    views = [store[:, i, 3:27:2, 1:4, 2:6].transpose(0, 0) for i in range(3)]
    want = nm.na1d(*(x.clone() for x in views), 5, return_lse=True)
    got = nm.na1d(*views, 5, return_lse=True)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    flipped = [x.transpose(1, 3) for x in views]  # last dimension not dense
    torch.testing.assert_close(nm.na1d(*flipped, 3), nm.na1d(*(x.clone() for x in flipped), 3))


def test_expanded_inputs_get_gradients_of_their_own():
    q = torch.randn(1, 1, 2, 4, dtype=torch.float64, requires_grad=True)
    k, v = torch.randn(1, 9, 2, 4).double(), torch.randn(1, 9, 2, 4).double()
    out = nm.na1d(q.expand(1, 9, 2, 4), k, v, 3)
    (got,) = torch.autograd.grad(out.sum(), q)
    (want,) = torch.autograd.grad(nm.na1d(q.repeat(1, 9, 1, 1), k, v, 3).sum(), q)
    torch.testing.assert_close(got, want)


def test_autocast():
    q = torch.randn(1, 8, 2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, lse = nm.na1d(q, q.bfloat16(), q, 3, return_lse=True)
        assert nm.na1d(*[q.double()] * 3, 3).dtype == torch.float64
    assert out.dtype == torch.bfloat16
    assert lse.dtype == torch.float32


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_allin1(rank):
    q, k, v = qkv(rank)
    bias = torch.randn(2, *[5] * rank, dtype=torch.float64, requires_grad=True)
    qk_rpb, av_fused = getattr(allin1, f"na{rank}d_qk_rpb"), getattr(allin1, f"na{rank}d_av_fused")
    logits = qk_rpb(q, k, bias, 3, 1, scale=0.5)
    torch.testing.assert_close(logits, QK[rank](q, k, 3, scale=0.5, rpb=bias))
    out = av_fused(logits.softmax(-1), v, 3, 1)
    want = FUSED[rank](q, k, v, 3, scale=0.5, rpb=bias)
    torch.testing.assert_close(out, want)
    (got,) = torch.autograd.grad(out.sum(), bias, retain_graph=True)
    torch.testing.assert_close(got, torch.autograd.grad(want.sum(), bias)[0])


def test_allin1_old_names():
    for rank in (1, 2):
        q, k, v = qkv(rank)
        logits = getattr(old_names, f"natten{rank}dqkrpb")(q, k, None, 3, 1)
        torch.testing.assert_close(logits, QK[rank](q, k, 3))
        out = getattr(old_names, f"natten{rank}dav")(logits, v, 3, 1)
        torch.testing.assert_close(out, AV[rank](logits, v, 3))


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_window_helpers_agree_with_what_is_computed(kernel, dilation):
    length = 16
    unit = torch.eye(length, dtype=torch.float64).reshape(1, length, 1, length)
    zero = torch.zeros_like(unit)
    seen = nm.na1d(zero, zero, unit, kernel, dilation=dilation)[0, :, 0] > 0
    index = torch.arange(length)
    starts = windows.get_window_start_vectorized(index, length, kernel, dilation)
    ends = windows.get_window_end_vectorized(index, length, kernel, dilation)
    biases = windows.get_pb_start_vectorized(index, length, kernel, dilation)
    for i in range(length):
        keys = seen[i].nonzero().flatten().tolist()
        assert keys == list(range(starts[i], ends[i] + 1, dilation))
        assert windows.get_window_start(i, length, kernel, dilation) == starts[i]
        assert windows.get_window_end(i, length, kernel, dilation) == ends[i]
        assert windows.get_pb_start(i, length, kernel, dilation) == biases[i]
        assert biases[i] == (keys[0] - i) // dilation + kernel - 1


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_function_classes(rank):
    from natten_mps import autograd

    q, k, v = qkv(rank)
    fused = getattr(autograd, f"NeighborhoodAttention{rank}DFunction").apply
    qk, av = (getattr(autograd, f"NA{rank}D{op}Function").apply for op in ("QK", "AV"))
    want = FUSED[rank](q, k, v, 3, 2, 1, True, 0.5)
    torch.testing.assert_close(fused(q, k, v, 3, 2, 1, True, 0.5), want)
    logits = qk(q, k, 3, 1, 2, True, 0.5)
    torch.testing.assert_close(av(logits.softmax(-1), v, 3, 1, 2, True), want)


def test_gna_stride_is_another_thing_than_query_step():
    q, k, v = qkv(1)
    shared = ops.Window((4,), (1,), (2,), (1,), (False,))
    out, _ = ops.attn(q, k, v, window=shared)
    assert out.shape == q.shape
    torch.testing.assert_close(  # in a stride group of two, the second query is the leader
        out[:, 1::2], nm.na1d(q, k, v, 4)[:, 1::2]
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_packed_sequences_equal_each_alone(stride):
    lens = [5, 3, 9]
    ends = torch.tensor([0, 5, 8, 17], dtype=torch.int32)
    q = torch.randn(17, 4, 3, dtype=torch.float64, requires_grad=True)
    k, v = (torch.randn(17, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    out, lse = na1d_packed(q, k, v, ends, 3, stride=stride, is_causal=True, return_lse=True)
    alone = [
        nm.na1d(*(x[None] for x in xs), 3, stride, is_causal=True, return_lse=True)
        for xs in zip(*(t.split(lens) for t in (q, k, v)), strict=True)
    ]
    want = torch.cat([o[0] for o, _ in alone])
    torch.testing.assert_close(out, want)
    torch.testing.assert_close(lse, torch.cat([s[0] for _, s in alone]))
    got = torch.autograd.grad(out.square().sum(), (q, k, v))
    for a, b in zip(got, torch.autograd.grad(want.square().sum(), (q, k, v)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("ends", [[0, 5, 16], [1, 17], [0, 9, 5, 17], []])
def test_packed_refuses_ends_that_do_not_fit(ends):
    q = torch.zeros(17, 2, 3)
    with pytest.raises(ValueError, match="cumulative_lens must rise from 0 to"):
        na1d_packed(q, q, q, torch.tensor(ends, dtype=torch.int64), 3)


def test_out_alone_is_the_same(monkeypatch):
    q, k, v = qkv(1)
    window = make_window(1, 5, 1, 1, False)
    want, lse = ops.attn(q, k, v, window=window)
    shapes, empty = [], torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **o: shapes.append(a[0]) or empty(*a, **o))
    assert torch.equal(want, ops.attn_out(q, k, v, window=window))
    assert lse.shape not in shapes
    q.requires_grad_()
    pairs = ops.attn(q, k, v, window=window)[0], ops.attn_out(q, k, v, window=window)
    gradients = [torch.autograd.grad(out.square().sum(), q)[0] for out in pairs]
    assert torch.equal(*gradients)
