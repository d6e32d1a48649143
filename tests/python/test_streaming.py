# SPDX-License-Identifier: MIT
"""Tokens one at a time, and in parts, against the whole sequence."""

import random

import pytest
import torch

import natten_mps
from natten_mps import _prepared, streaming
from natten_mps.streaming import Cache, Stream

CLOSE = {
    torch.float64: {"rtol": 0, "atol": 1e-13},
    torch.float32: {"rtol": 0, "atol": 2e-6},
    torch.float16: {"rtol": 0, "atol": 4e-3},
    torch.bfloat16: {"rtol": 0, "atol": 3e-2},
}


def _tokens(batch, length, dtype=torch.float64, *, spatial=(), heads=4, kv_heads=2, value_dim=6):
    shape = (batch, length, *spatial)
    q = torch.randn(*shape, heads, 8, dtype=torch.float64).to(dtype)
    k = torch.randn(*shape, kv_heads, 8, dtype=torch.float64).to(dtype)
    v = torch.randn(*shape, kv_heads, value_dim, dtype=torch.float64).to(dtype)
    return q, k, v


def _cuts(length, most, seed=0):
    draw, cuts = random.Random(seed), []
    while sum(cuts) < length:
        cuts.append(min(draw.randint(1, most), length - sum(cuts)))
    return cuts


def _stream(tensors, cuts, *args, **options):
    stream = Stream()
    parts = [
        stream.step(*part, *args, **options)
        for part in zip(*(t.split(cuts, 1) for t in tensors), strict=True)
    ]
    if isinstance(parts[0], tuple):
        return tuple(torch.cat(p, 1) for p in zip(*parts, strict=True))
    return torch.cat(parts, 1)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (5, 1), (4, 3), (2, 70)])
@pytest.mark.parametrize("most", [1, 7, 400])
def test_parts_of_a_sequence_are_the_sequence(kernel, dilation, most, dtype):
    tensors = _tokens(2, 300, dtype)
    want = natten_mps.na1d(
        *tensors, kernel, dilation=dilation, is_causal=True, return_lse=True, scale=0.3
    )
    found = _stream(tensors, _cuts(300, most), kernel, dilation, 0.3, True)
    for got, wanted in zip(found, want, strict=True):
        torch.testing.assert_close(got, wanted, **CLOSE[dtype])


def test_ten_thousand_tokens_one_by_one_make_no_new_problems():
    tensors = _tokens(1, 10_000, torch.float32)
    want = natten_mps.na1d(*tensors, 17, dilation=3, is_causal=True)
    stream, found, prepared = Stream(), [], None
    for i in range(10_000):
        found.append(stream.step(*(t[:, i : i + 1] for t in tensors), 17, 3))
        if i == 100:
            prepared, memory = len(_prepared._prepared), stream._kept[0].untyped_storage().nbytes()
    torch.testing.assert_close(torch.cat(found, 1), want, **CLOSE[torch.float32])
    assert len(_prepared._prepared) == prepared
    assert stream._kept[0].untyped_storage().nbytes() == memory


def test_features():
    q, k, v = _tokens(2, 40)
    extra = {
        "additional_keys": torch.randn(2, 3, 2, 8, dtype=torch.float64),
        "additional_values": torch.randn(2, 3, 2, 6, dtype=torch.float64),
        "rpb": torch.randn(4, 9, dtype=torch.float64),
    }
    want = natten_mps.na1d(q, k, v, 5, dilation=2, is_causal=True, **extra)
    torch.testing.assert_close(_stream((q, k, v), _cuts(40, 3), 5, 2, **extra), want)


@pytest.mark.parametrize("causal", [(True, False, False), (True, True, False)])
def test_frames_of_a_video(causal):
    tensors = _tokens(1, 12, spatial=(6, 5))
    rpb = torch.randn(4, 5, 5, 3, dtype=torch.float64)
    want = natten_mps.na3d(*tensors, (3, 3, 2), dilation=(2, 1, 1), is_causal=causal, rpb=rpb)
    options = {"is_causal": causal, "rpb": rpb, "window_stride": (1, 2, 1)}
    want = natten_mps.na3d(*tensors, (3, 3, 2), dilation=(2, 1, 1), **options)
    torch.testing.assert_close(
        _stream(tensors, _cuts(12, 3), (3, 3, 2), (2, 1, 1), **options), want
    )


def test_streams_that_start_at_different_times():
    q, k, v = _tokens(3, 30)
    begins, stream, found = (0, 4, 11), Stream(), []
    stream.reset(delay=torch.tensor(begins))
    for i in _cuts(30, 5):
        at = sum(p.shape[1] for p in found)
        found.append(stream.step(*(t[:, at : at + i] for t in (q, k, v)), 5, 2))
    out = torch.cat(found, 1)
    for row, begin in enumerate(begins):
        want = natten_mps.na1d(
            *(t[row : row + 1, begin:] for t in (q, k, v)), 5, dilation=2, is_causal=True
        )
        torch.testing.assert_close(out[row : row + 1, begin:], want)
        assert not out[row, :begin].any()
    assert stream.ages == [30, 26, 19]


def test_a_stream_that_begins_anew_forgets():
    q, k, v = _tokens(2, 20)
    stream = Stream()
    stream.step(q[:, :12], k[:, :12] * torch.nan, v[:, :12] * torch.nan, 5)
    stream.reset()
    stream.step(*(t[:, :12] for t in (q, k, v)), 5)
    stream.reset([1])
    found = torch.cat(
        [stream.step(*(t[:, i : i + 1] for t in (q, k, v)), 5) for i in range(12, 20)], 1
    )
    whole = natten_mps.na1d(q, k, v, 5, is_causal=True)
    late = natten_mps.na1d(*(t[:, 12:] for t in (q, k, v)), 5, is_causal=True)
    torch.testing.assert_close(found, torch.stack([whole[0, 12:], late[1]]))


def test_beams():
    """Each beam's output is that of its own history alone."""
    cache, draw = Cache(2), random.Random(3)
    histories = [[], [], []]
    for t in range(25):
        new = torch.randn(len(histories), 1, 2, 4, dtype=torch.float64)
        first = cache[0].step(new, new, new, 4, 2)
        second = cache[1].step(first, first, first, 3)
        histories = [[*h, new[i]] for i, h in enumerate(histories)]
        for i, history in enumerate(histories):
            x = torch.cat(history)[None]
            x = (
                natten_mps.na1d(x, x, x, 4, dilation=2, is_causal=True, full_size=99)
                if t < 7
                else (natten_mps.na1d(x, x, x, 4, dilation=2, is_causal=True))
            )
            want = natten_mps.na1d(x, x, x, 3, is_causal=True, full_size=max(t + 1, 3))
            torch.testing.assert_close(second[i], want[0, -1:])
        size = draw.choice([2, 3, 5])
        rows = [draw.randrange(len(histories)) for _ in range(size)]
        cache.reorder(torch.tensor(rows) if t % 2 else rows)
        histories = [histories[row] for row in rows]


@pytest.mark.parametrize("kv_heads", [None, 1])
def test_modules(kv_heads):
    module = natten_mps.NeighborhoodAttention1D(
        16, 4, 5, dilation=2, is_causal=True, num_kv_heads=kv_heads, rel_pos_bias=True
    ).eval()
    x, stream = torch.randn(2, 30, 16), Stream()
    with torch.no_grad():
        found = [streaming.step(module, part, stream) for part in x.split(_cuts(30, 4), 1)]
        torch.testing.assert_close(torch.cat(found, 1), module(x))


def test_gradients_reach_the_new_tokens_only():
    q, k, v = (t.requires_grad_() for t in _tokens(1, 20))
    whole = natten_mps.na1d(
        q,
        torch.cat([k[:, :12].detach(), k[:, 12:]], 1),
        torch.cat([v[:, :12].detach(), v[:, 12:]], 1),
        5,
        is_causal=True,
    )
    want = torch.autograd.grad(whole[:, 12:].square().sum(), (q, k, v))
    stream = Stream()
    stream.step(*(t[:, :12] for t in (q, k, v)), 5)
    out = stream.step(*(t[:, 12:] for t in (q, k, v)), 5)
    for got, wanted in zip(torch.autograd.grad(out.square().sum(), (q, k, v)), want, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"is_causal": False}, r"is_causal is \(False,\) \(want True along the first axis"),
        ({"window_stride": 2}, r"window_stride is \(2,\) \(want 1 along the first"),
        ({"kernel_size": 4}, r"want the same, or reset"),
        ({"key": torch.randn(3, 1, 2, 8)}, "query has batch size 2 but key has 3"),
        (
            {name: torch.randn(3, 1, 2, 8) for name in ("query", "key", "value")},
            "key has .* stream",
        ),
        ({"query": torch.randn(2, 8)}, r"query has shape \(2, 8\)"),
        ({"query": torch.randn(2, 2, 4, 8)}, r"query has positions \(2,\) \(want key's, \(1,\)"),
        ({"query": torch.randn(2, 1, 4, 8).half()}, "query is torch.float16 but key"),
        ({"rpb": torch.randn(4, 4)}, r"rpb has sizes \(4, 4\)"),
    ],
)
def test_what_is_refused(options, message):
    q, k, v = _tokens(2, 1, torch.float32)
    stream = Stream()
    stream.step(q, k, v, 3)
    given = {"query": q, "key": k, "value": v, "kernel_size": 3} | options
    with pytest.raises(ValueError, match=message):
        stream.step(**given)
    torch.testing.assert_close(stream.ages, [1, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.reset([5]), r"rows has 5 \(want 0 to 1"),
        (lambda s: s.reset(torch.tensor([True])), r"rows has 1 bools \(want 2"),
        (lambda s: s.reset([0, 1], delay=[1]), r"delay has 1 entries \(want one, or 2"),
        (lambda s: s.reset(delay=-1), r"delay is -1 \(want numbers of tokens from 0 on"),
        (lambda s: s.reorder([2]), r"rows has 2 \(want 0 to 1"),
    ],
)
def test_rows_that_are_refused(call, message):
    stream = Stream()
    stream.step(*_tokens(2, 1), 3)
    with pytest.raises(ValueError, match=message):
        call(stream)
