# SPDX-License-Identifier: MIT
"""The state of a stream through failures, copies, restarts, and modes of torch."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch

import natten_mps
from natten_mps import streaming
from natten_mps.streaming import Cache, Stream

TOKENS = 24


def _tokens(batch=2, length=TOKENS, dtype=torch.float64):
    return [torch.randn(batch, length, 2, 4, dtype=dtype) for _ in range(3)]


def _whole(tensors, kernel=5, dilation=2):
    return natten_mps.na1d(*tensors, kernel, dilation=dilation, is_causal=True)


def _part(tensors, begin, end):
    return [t[:, begin:end] for t in tensors]


def _run(stream, tensors, cuts, kernel=5, dilation=2):
    parts = zip(*(t.split(cuts, 1) for t in tensors), strict=True)
    return torch.cat([stream.step(*part, kernel, dilation) for part in parts], 1)


@pytest.mark.parametrize("name", ["query", "rpb", "scale"])
def test_gradients_through_many_steps(name):
    """Keys without a gradient, too, are kept as they were for the backward pass."""
    q, k, v = _tokens(1)
    options = {"rpb": torch.randn(2, 9, dtype=torch.float64), "scale": torch.tensor(0.4).double()}
    leaf = {"query": q, **options}[name].requires_grad_()
    want = natten_mps.na1d(q, k, v, 5, dilation=2, is_causal=True, **options)
    (wanted,) = torch.autograd.grad(want.square().sum(), leaf)
    stream = Stream()
    found = [stream.step(*_part((q, k, v), i, i + 1), 5, 2, **options) for i in range(TOKENS)]
    (got,) = torch.autograd.grad(torch.cat(found, 1).square().sum(), leaf)
    torch.testing.assert_close(got, wanted)


def test_modes_of_autograd_follow_one_another():
    tensors = _tokens()
    for order in ("inference", "none", "grad"), ("grad", "inference", "none"), ("none", "grad"):
        stream, found, at = Stream(), [], 0
        for mode in order * 4:
            made = {
                "inference": torch.inference_mode,
                "none": torch.no_grad,
                "grad": torch.enable_grad,
            }[mode]
            with made():
                new = [t.clone() for t in _part(tensors, at, at + 2)]
                if mode == "grad":
                    new = [t.requires_grad_() for t in new]
                found.append(stream.step(*new, 5, 2).detach().clone())
            at += 2
        torch.testing.assert_close(
            torch.cat(found, 1), _whole(_part(tensors, 0, at)), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("cuts", [[1] * TOKENS, [3, 1, 20], [TOKENS]])
def test_nothing_of_the_past_survives_a_restart(cuts):
    """Neither values that are not numbers, nor padding of prompts, reach outputs or gradients."""
    tensors = _tokens()
    stream = Stream()
    stream.step(*(t * torch.nan for t in _part(tensors, 0, 9)), 5, 2)
    stream.reset([0, 1], delay=[0, 7])
    padded = [t.clone() for t in tensors]
    for t in padded:
        t[1, :7] = torch.nan
        t.requires_grad_()
    extra = [torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    parts = zip(*(t.split(cuts, 1) for t in padded), strict=True)
    options = {"additional_keys": extra[0], "additional_values": extra[1]}
    out = torch.cat([stream.step(*part, 5, 2, **options) for part in parts], 1)
    late = [t[1:, 7:] for t in tensors]
    want = [
        natten_mps.na1d(
            *given,
            5,
            dilation=2,
            is_causal=True,
            additional_keys=extra[0][row : row + 1],
            additional_values=extra[1][row : row + 1],
        )[0]
        for row, given in enumerate(([t[:1] for t in tensors], late))
    ]
    torch.testing.assert_close(out[0], want[0])
    torch.testing.assert_close(out[1, 7:], want[1])
    assert not out[1, :7].any()
    grads = torch.autograd.grad(out.sum(), [*padded, *extra])
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("most", [1, 40])
def test_a_step_that_fails_changes_nothing(most):
    tensors = _tokens(length=2 * TOKENS)
    stream = Stream()
    stream.step(*_part(tensors, 0, 9), 5, 2)
    new = _part(tensors, 9, 9 + most)
    with pytest.raises(ValueError, match="scale is nan"):
        stream.step(*new, 5, 2, scale=torch.nan)
    with pytest.raises(ValueError, match=r"key has 0 tokens \(want 1 or more per step\)"):
        stream.step(*_part(tensors, 9, 9), 5, 2)
    assert stream.ages == [9, 9]
    want = _whole(_part(tensors, 0, max(9 + most, 10)))[:, 9 : 9 + most]
    torch.testing.assert_close(stream.step(*new, 5, 2), want)


def _saved(cache):
    buffer = io.BytesIO()
    torch.save(cache, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c)), _saved]
)
def test_copies_continue_on_their_own(duplicate):
    module = natten_mps.NeighborhoodAttention1D(8, 2, 5, is_causal=True).eval().double()
    x = torch.randn(1, 20, 8, dtype=torch.float64)
    cache = Cache(1)
    with torch.no_grad():
        streaming.step(module, x[:, :9], cache[0])
        other = duplicate(cache)
        streaming.step(module, torch.randn(1, 4, 8, dtype=torch.float64), cache[0])
        found = streaming.step(copy.deepcopy(module), x[:, 9:], other[0])
        torch.testing.assert_close(found, module(x)[:, 9:])
    assert (cache[0].ages, other[0].ages) == ([13], [20])


def test_two_layers_do_not_share_a_stream():
    layers = [natten_mps.NeighborhoodAttention1D(8, 2, 3, is_causal=True) for _ in range(2)]
    x, stream = torch.randn(1, 2, 8), Stream()
    streaming.step(layers[0], x, stream)
    with pytest.raises(ValueError, match="stream has tokens of another module"):
        streaming.step(layers[1], x, stream)
    assert stream.ages == [2]
    stream.reset()
    streaming.step(layers[1], x, stream)


def test_autocast():
    """Like na1d, a step takes tensors that autocast brings to one type."""
    q, k, v = _tokens(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        want = _whole((q, k.bfloat16(), v))
        found = _run(Stream(), (q, k.bfloat16(), v), [5, 1, 18])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, want, rtol=0, atol=3e-2)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compile(backend):
    module = natten_mps.NeighborhoodAttention1D(8, 2, 4, is_causal=True).eval()
    x, stream = torch.randn(1, 20, 8), Stream()
    step = torch.compile(lambda part: streaming.step(module, part, stream), backend=backend)
    with torch.no_grad():
        found = torch.cat([step(part) for part in x.split([4, *[1] * 16], 1)], 1)
        torch.testing.assert_close(found, module(x), rtol=1e-5, atol=1e-6)
        compiled = torch.compile(module, backend=backend)
        torch.testing.assert_close(streaming.step(compiled, x, Stream()), module(x))


@pytest.mark.parametrize(
    "rows",
    [
        [1],
        (1,),
        torch.tensor([1]),
        torch.tensor(1),
        np.array([1]),
        np.int64(1),
        [np.int32(1)],
        [torch.tensor(1)],
        [False, True],
        np.array([False, True]),
        [np.False_, np.True_],
        torch.tensor([False, True]),
    ],
    ids=repr,
)
def test_rows_in_every_form(rows):
    stream = Stream()
    stream.step(*_tokens(length=3), 5)
    stream.reset(rows, delay=np.int64(2))
    assert stream.ages == [3, -2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.reset(torch.tensor([0.5])), r"rows is tensor.* \(want streams of the batch"),
        (lambda s: s.reset([1], delay=1.5), r"delay is 1.5 \(want numbers of tokens, as integers"),
        (lambda s: s.reorder(["a"]), r"rows is \['a'\] \(want streams of the batch, as integers"),
        (lambda s: s.reorder([-1]), r"rows has -1 \(want 0 to 1, streams"),
        (lambda _: Stream().reset([0]), r"rows has 0 \(want None before a step\)"),
    ],
)
def test_rows_that_are_refused(call, message):
    stream = Stream()
    stream.step(*_tokens(length=3), 5)
    with pytest.raises(ValueError, match=message):
        call(stream)


def test_beams_before_the_first_step_take_their_delays_along():
    tensors, stream = _tokens(3), Stream()
    stream.reset(delay=[0, 4])
    stream.reorder([1, 0, 1])
    stream.step(*tensors, 5)
    assert stream.ages == [TOKENS - 4, TOKENS, TOKENS - 4]


def test_batches_grow_and_end():
    tensors, stream = _tokens(), Stream()
    stream.step(*_part(tensors, 0, 10), 5, 2)
    stream.reorder([])
    assert stream.step(*(t[:0, 10:11] for t in tensors), 5, 2).shape == (0, 1, 2, 4)
    stream.reset()
    found = _run(stream, [t.repeat(3, 1, 1, 1) for t in tensors], [11, 13])
    torch.testing.assert_close(found, _whole(tensors).repeat(3, 1, 1, 1))
