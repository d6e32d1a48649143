# SPDX-License-Identifier: MIT
"""Part of the queries of longer axes, with the keys that they need, against the whole."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import compare, leaves_of, part_of
from problems import OPS, call, cases
from torch._dynamo.testing import CompileCounter

import natten_mps
from natten_mps import _abi, _lib, ops
from natten_mps._layout import Misfit
from natten_mps.utils.params import make_window
from natten_mps.utils.window import Ranges, extent, keys_of


@pytest.mark.parametrize(
    "pieces", [pytest.param(2, marks=pytest.mark.slow), 3, pytest.param(7, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("problem", cases(), ids=lambda p: p.name)
def test_parts_of_every_axis_make_the_whole(problem, op, pieces):
    compare(problem, op, "float64", pieces, "pure")


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("problem", cases(), ids=lambda p: p.name)
def test_parts_computed_by_the_library_make_the_whole(problem, op):
    compare(problem, op, "float64", 3, "native")


axes = st.tuples(
    st.integers(1, 5), st.integers(1, 4), st.integers(0, 9), st.integers(1, 5), st.integers(1, 5)
)


@settings(deadline=None, max_examples=300)
@given(axes, st.booleans(), st.data())
def test_keys_of_a_range_are_those_that_its_queries_see(axis, causal, data):
    kernel, dilation, more, stride, step = axis
    length = kernel * dilation + more
    window = make_window(1, kernel, dilation, step, causal, min(stride, kernel))
    first = data.draw(st.integers(0, (length - 1) // step)) * step
    count = data.draw(st.integers(1, length - first))
    seen = [extent(window, 0, length, i) for i in range(first, first + count)]
    seen = seen[::step] if dilation == 1 else seen[: (count - 1) // step * step + 1]
    want = range(min(low for low, _ in seen), max(high for _, high in seen) + 1)
    assert keys_of(window, 0, length, first, count) == want
    rule, part, error = _abi.Axis(), _abi.Range(first, count), _abi.new(_abi.Error)
    rule.length, rule.kernel, rule.dilation, rule.stride, rule.query_step, rule.causal = (
        length,
        kernel,
        dilation,
        min(stride, kernel),
        step,
        causal,
    )
    _lib.check(_lib.library().natten_mps_window_range(rule, part, error), error)
    assert (part.key_first, part.key_count) == (want[0], len(want))


def _x(length, heads=2, dim=8):
    return torch.randn(1, length, heads, dim)


def test_the_end_of_the_axis_is_that_of_the_keys_unless_it_is_said():
    x = _x(20)
    whole = natten_mps.na1d(x, x, x, 5, is_causal=True)
    last = natten_mps.na1d(
        x[:, 19:], x[:, 15:], x[:, 15:], 5, is_causal=True, query_offset=19, key_offset=15
    )
    torch.testing.assert_close(last, whole[:, 19:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query_offset": 6}, r"query range 6 to 10 is no part of axis 0 of length 9"),
        (
            {"query_offset": 2, "key_offset": 3, "full_size": 12},
            r"keys 3 to 11 are held on axis 0, and queries 2 to 5 see others \(want keys 1 to 6",
        ),
        (
            {"query_offset": 5, "full_size": 12},
            r"keys 0 to 8 are held on axis 0, and queries 5 to 8 see others \(want keys 4 to 9",
        ),
        ({"query_offset": -1}, r"query_offset values must be >= 0, got -1"),
        ({"query_offset": (1, 2)}, r"query_offset must have length 1, got 2"),
        ({"key_offset": "a"}, r"key_offset is 'a' \(want an integer from 0 on"),
        ({"query_offset": True}, r"query_offset is True \(want an integer from 0 on"),
        ({"full_size": 0}, r"exceeds input spatial size 0|cannot exceed input spatial size 0"),
        ({"query_offset": 1, "stride": 2}, r"query_offset 1 on axis 0 \(want a multiple of"),
    ],
)
def test_what_is_refused(options, message):
    q, k = _x(4), _x(9)
    with pytest.raises(ValueError, match=message):
        natten_mps.na1d(q, k, k, 3, **options)
    with pytest.raises(ValueError, match=message):
        natten_mps.na1d(q.to("meta"), k.to("meta"), k.to("meta"), 3, **options)


@pytest.mark.parametrize(
    "transform", [torch.func.vmap, lambda f: lambda x: torch.jit.trace(f, x[0])]
)
def test_what_is_not_held_is_refused_below_transforms(transform):
    k = _x(9)

    def late(q):
        return natten_mps.na1d(q, k, k, 3, query_offset=8, full_size=12)

    with pytest.raises((ValueError, Misfit), match="keys 0 to 8 are held"):
        transform(late)(_x(2)[None])


def test_offsets_change_without_compiling_again():
    counter = CompileCounter()

    @torch.compile(fullgraph=True, backend=counter)
    def step(q, k, v, at, full):
        return natten_mps.na1d(
            q, k, v, 5, is_causal=True, query_offset=at, key_offset=at - 4, full_size=full
        )

    x = _x(400)
    whole = natten_mps.na1d(x, x, x, 5, is_causal=True)
    for at in (4, 5, 77, 200, 399):
        held = x[:, at - 4 : at + 1]
        found = step(x[:, at : at + 1], held, held, at, 400)
        torch.testing.assert_close(found, whole[:, at : at + 1])
        if at == 5:
            compiled = counter.frame_count
    assert counter.frame_count == compiled <= 2


@pytest.mark.slow
def test_inductor():
    """As one graph with gradients, for offsets that change."""

    def loss(q, k, v, at):
        out = natten_mps.na1d(q, k, v, 5, query_offset=at, key_offset=at - 2, full_size=60)
        return (out.sin() * at).sum()

    compiled = torch.compile(loss, fullgraph=True)
    x = _x(60)
    for at in (3, 7, 40):
        parts = x[:, at : at + 6], x[:, at - 2 : at + 8], x[:, at - 2 : at + 8]
        found, want = (
            torch.autograd.grad(run(*leaves, at), leaves)
            for run in (compiled, loss)
            for leaves in [[t.clone().requires_grad_() for t in parts]]
        )
        for got, wanted in zip(found, want, strict=True):
            torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("strict", [False, True])
def test_exported_programs_take_other_lengths(strict):
    class Last(torch.nn.Module):
        def forward(self, q, k):
            return natten_mps.na1d(q, k, k, 3, query_offset=k.shape[1] - q.shape[1])

    x, longer = _x(20), _x(33)
    sizes = ({}, {1: torch.export.Dim("length", min=8, max=500)})
    program = torch.export.export(Last(), (x[:, 18:], x), dynamic_shapes=sizes, strict=strict)
    want = natten_mps.na1d(longer, longer, longer, 3)[:, 31:]
    torch.testing.assert_close(program.module()(longer[:, 31:], longer), want)


def test_compiled_calls_refuse_what_is_not_held():
    @torch.compile(fullgraph=True, backend="aot_eager")
    def step(q, k, at):
        return natten_mps.na1d(q, k, k, 3, query_offset=at, full_size=400)

    x = _x(300)
    for at in (3, 4):
        step(x[:, :2], x, at)
    with pytest.raises(ValueError, match="keys 0 to 299 are held"):
        step(x[:, :2], x, 299)


@pytest.mark.parametrize("op", OPS)
def test_opcheck(op):
    problem = next(p for p in cases() if p.name == "1d-causal")
    inputs = problem.inputs(op, "float32")
    given, options, _ = part_of(problem, op, inputs, 0, 2, 5)
    window, ranges = options["window"], options["window"].ranges
    names = {"attn": ("query", "key", "value", "rpb", "extra_key", "extra_value")}
    names |= {"qk": ("query", "key", "rpb", "extra_key"), "av": ("attn", "value", "extra_value")}
    tensors = [given.get(name) for name in names[op]]
    flat = [n for part in ranges for n in part]
    function = getattr(torch.ops.natten_mps, op).default
    torch.library.opcheck(function, (*tensors, None, *window[:6], None, False, flat))


@pytest.mark.parametrize("op", OPS)
def test_functional_transforms(op):
    problem = dataclasses.replace(next(p for p in cases() if p.name == "1d-gqa"), heads_first=False)
    inputs = {name: t.detach() for name, t in problem.inputs(op, "float64").items()}
    given, options, _ = part_of(problem, op, inputs, 0, 1, 4)

    def loss(given):
        return sum(o.square().sum() for o in call(op, given, options))

    want = torch.autograd.grad(loss(leaves := leaves_of(given)), list(leaves.values()))
    for got, wanted in zip(torch.func.grad(loss)(given).values(), want, strict=True):
        torch.testing.assert_close(got, wanted)
    both = {name: torch.stack([t, 2 * t]) for name, t in given.items()}
    found = torch.func.vmap(lambda given: call(op, given, options))(both)
    for i in (0, 1):
        single = call(op, {name: t[i] for name, t in both.items()}, options)
        for got, wanted in zip(found, single, strict=True):
            torch.testing.assert_close(got[i], wanted)


class _Late(torch.nn.Module):
    def forward(self, q, k):
        return natten_mps.na2d(q, k, k, 3, query_offset=(2, 0), full_size=(8, 6))


def test_export_and_second_order(tmp_path):
    q, k = torch.randn(1, 3, 6, 2, 4), torch.randn(1, 7, 6, 2, 4)
    program = torch.export.export(_Late(), (q, k))
    torch.export.save(program, tmp_path / "late.pt2")
    again = torch.export.load(tmp_path / "late.pt2").module()
    torch.testing.assert_close(again(q, k), _Late()(q, k))
    inputs = [t.double().requires_grad_() for t in (q[:, :2, :3, :1, :2], k[:, :5, :, :1, :2])]
    window = make_window(2, 3, 1, 1, False)._replace(ranges=Ranges((2, 0), (0, 0), (8, 6)))
    assert torch.autograd.gradgradcheck(
        lambda q, k: ops.attn_out(q, k, k, window=window), inputs, fast_mode=True
    )


def test_flops_are_those_of_the_range():
    q, k = _x(4), _x(16)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        natten_mps.na1d(q, k, k, 3, query_offset=5)
    assert counter.get_total_flops() == 2 * 2 * 2 * 4 * 3 * 8


def test_padding_of_samples_that_end_before_or_in_a_range():
    x = torch.randn(3, 12, 2, 4, dtype=torch.float64)
    sizes = torch.tensor([[12], [7], [4]])
    window = make_window(1, 3, 1, 1, False)
    whole, whole_lse = ops.attn(x, x, x, window=window, sizes=sizes)
    window = window._replace(ranges=Ranges((6,), (5,), (12,)))
    out, lse = ops.attn(x[:, 6:9], x[:, 5:], x[:, 5:], window=window, sizes=sizes[:1].expand(3, 1))
    torch.testing.assert_close(
        out, ops.attn(x, x, x, window=window._replace(ranges=None))[0][:, 6:9]
    )
    out, lse = ops.attn(
        x[:, 6:9],
        x[:, 4:],
        x[:, 4:],
        sizes=sizes,
        window=window._replace(ranges=Ranges((6,), (4,), (12,))),
    )
    torch.testing.assert_close(out, whole[:, 6:9])
    torch.testing.assert_close(lse, whole_lse[:, 6:9])
    with pytest.raises(
        ValueError,
        match="query 6 on axis 0 sees key 4, which is not held",
    ):
        ops.attn(x[:, 6:9], x[:, 5:], x[:, 5:], window=window, sizes=sizes)
