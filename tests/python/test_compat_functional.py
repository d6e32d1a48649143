# SPDX-License-Identifier: MIT
"""What the recorded cases do not reach: full attention, merging, nested tensors, forward mode,
autograd functions by name, additional tokens' helpers, transformers' layout."""

import logging
import math
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from natten_mps import use_backend
from natten_mps.compat import for_version
from natten_mps.compat._common.gna import arguments as arguments_021

v014, v015, v017, v020, v021 = map(for_version, ("0.14", "0.15", "0.17", "0.20", "0.21.7"))


def rand(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def _plain(query, key, value, scale, causal):
    """Output and lse of [B, S, H, D], from the definition."""
    groups = query.shape[2] // key.shape[2]
    key, value = (t.repeat_interleave(groups, 2) for t in (key, value))
    logits = torch.einsum("bqhd,bkhd->bqhk", query, key) * scale
    if causal:
        queries, keys = logits.shape[1], logits.shape[3]
        hidden = torch.ones(queries, keys, dtype=torch.bool).triu(1)
        logits = logits.masked_fill(hidden[:, None], -math.inf)
    return torch.einsum("bqhk,bkhd->bqhd", logits.softmax(-1), value), logits.logsumexp(-1)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [(7, 7), (3, 8), (8, 3), (10, 4), (1, 5), (5, 1)])
def test_attention_and_its_gradients(lengths, causal):
    query, (key, value) = rand(2, lengths[0], 4, 6), rand(2, 2, lengths[1], 2, 6)
    leaves = [t.requires_grad_() for t in (query, key, value)]
    out, lse = v021.attention(*leaves, is_causal=causal, scale=0.3, return_lse=True)
    wanted = _plain(*leaves, 0.3, causal)
    d_out, d_lse = torch.randn_like(out), torch.randn_like(lse)
    for got, want in zip((out, lse), wanted, strict=True):
        assert torch.allclose(got, want)
    mine = torch.autograd.grad((out, lse), leaves, (d_out, d_lse))
    theirs = torch.autograd.grad(wanted, leaves, (d_out, d_lse))
    for got, want in zip(mine, theirs, strict=True):
        assert torch.allclose(got, want)


def test_attention_020_is_torch_s():
    query, key, value = rand(2, 5, 2, 4), rand(2, 9, 2, 4), rand(2, 9, 2, 3)
    heads_first = (t.transpose(1, 2) for t in (query, key, value))
    want = scaled_dot_product_attention(*heads_first).transpose(1, 2)
    assert torch.allclose(v020.attention(query, key, value, 0.0), want)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_sequences(causal):
    queries, keys = [3, 0, 5, 2], [4, 0, 5, 1]
    query, key, value = rand(1, 10, 2, 4), rand(1, 10, 1, 4), rand(1, 10, 1, 4)
    lengths = [torch.tensor(n, dtype=torch.int32) for n in (queries, keys)]
    out, lse = v021.attention(
        query, key, value, causal, seqlens_Q=lengths[0], seqlens_KV=lengths[1], return_lse=True
    )
    start_q = start_kv = 0
    for n, m in zip(queries, keys, strict=True):
        own = slice(start_q, start_q + n)
        theirs = slice(start_kv, start_kv + m)
        want = _plain(query[:, own], key[:, theirs], value[:, theirs], 0.5, causal)
        assert torch.allclose(out[:, own], want[0])
        assert torch.allclose(lse[:, own], want[1])
        start_q, start_kv = start_q + n, start_kv + m
    cumulative = v021.utils.varlen.generate_varlen_parameters(query, key, value, *lengths)
    assert cumulative[0].tolist() == [0, 3, 3, 8, 10]
    assert cumulative[2:] == (5, 5)
    names = ("cumulative_seqlen_Q", "cumulative_seqlen_KV", "max_seqlen_Q", "max_seqlen_KV")
    again = v021.attention(query, key, value, causal, **dict(zip(names, cumulative, strict=True)))
    assert torch.equal(again, out)


@pytest.mark.parametrize("fix", [True, False])
def test_merging_is_attention_over_all_keys_with_true_gradients(fix):
    leaves = [t.requires_grad_() for t in (rand(2, 5, 2, 4), rand(2, 9, 2, 4), rand(2, 9, 2, 4))]
    query, key, value = leaves
    parts = [slice(0, 2), slice(2, 6), slice(6, 9)]
    branches = [
        v021.attention(query, key[:, part], value[:, part], return_lse=True) for part in parts
    ]
    outputs, lses = map(list, zip(*branches, strict=True))
    out, lse = v021.merge_attentions(outputs, lses, use_autograd_fix=fix)
    wanted = _plain(*leaves, 0.5, False)
    grads = torch.randn_like(out), torch.randn_like(lse)
    mine = torch.autograd.grad((out, lse), leaves, grads, retain_graph=True)
    theirs = torch.autograd.grad(wanted, leaves, grads)
    for got, want in zip((out, lse, *mine), (*wanted, *theirs), strict=True):
        assert torch.allclose(got, want)
    assert torch.equal(v020.merge_attentions(outputs, lses), out)
    first, second = (list(t) for t in zip(*branches[:2], strict=True))
    merged = v017.ops.merge_attentions(*first, *second)
    assert torch.equal(merged, v021.merge_attentions(first, second)[0])


def test_additional_attention_017():
    query, key, value = rand(2, 3, 4, 2, 4), rand(2, 5, 2, 4), rand(2, 5, 2, 4)
    out, lse = v017.ops.additional_sdpa(query, key, value, scale=0.7)
    want = _plain(query.flatten(1, 2), key, value, 0.7, False)
    assert torch.allclose(out.flatten(1, 2), want[0])
    assert torch.allclose(lse.flatten(1, 2), want[1])


@pytest.mark.parametrize("version", [v015, v017])
@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize("batches", [(), (2, 1)], ids=["single", "batched"])
def test_nested_tensors(version, extra, batches):
    """In upstream, each nested sample is itself a batch, [B, H, L, D]."""
    shapes = [(*batches[i : i + 1], 2, length) for i, length in enumerate((9, 6))]
    samples = [rand(*shape, 4) for shape in shapes]
    tokens = [rand(*shape[:-1], extra, 4) if extra else None for shape in shapes]
    bias = rand(2, 5)
    nest = torch.nested.as_nested_tensor
    nested_tokens = nest(tokens) if extra else None
    qk, av = version.nested.na1d_qk_nested, version.nested.na1d_av_nested
    logits = qk(nest(samples), nest(samples), bias, 3, 2, nested_tokens)
    out = av(logits, nest(samples), 3, 2, nested_tokens)
    with_bias = (
        version.functional.na1d_qk_with_bias
        if version is v015
        else lambda q, k, b, *rest: version.functional.na1d_qk(q, k, *rest, rpb=b)
    )
    for i, sample in enumerate(samples):
        one, token = (t if batches or t is None else t[None] for t in (sample, tokens[i]))
        want = with_bias(one, one, bias, 3, 2, token)
        assert torch.equal(logits[i].reshape(want.shape), want)
        want = version.functional.na1d_av(want, one, 3, 2, token)
        assert torch.equal(out[i], want.reshape(out[i].shape))
    plain = version.functional.na1d_qk(nest(samples), nest(samples), 3, 2, nested_tokens)
    assert torch.equal(plain[0], qk(nest(samples), nest(samples), None, 3, 2, nested_tokens)[0])


@pytest.mark.parametrize("version", [v015, v017])
def test_forward_mode(version):
    query, key, bias = rand(1, 2, 9, 4), rand(1, 2, 9, 4), rand(2, 5)
    qk = (
        version.functional.na1d_qk_with_bias
        if version is v015
        else lambda q, k, b, *window: v017.functional.na1d_qk(q, k, *window, rpb=b)
    )
    tangents = rand(1, 2, 9, 4), rand(1, 2, 9, 4), rand(2, 5)
    _, got = torch.func.jvp(lambda q, k, b: qk(q, k, b, 3, 1), (query, key, bias), tangents)
    want = (
        qk(tangents[0], key, None, 3, 1)
        + qk(query, tangents[1], None, 3, 1)
        + qk(0 * query, key, tangents[2], 3, 1)
    )
    assert torch.allclose(got, want)


@pytest.mark.parametrize(
    ("version", "names", "arguments"),
    [
        (v014, ("NATTEN2DQKRPBFunction", "NATTEN2DAVFunction"), (3, 1)),
        (v015, ("NeighborhoodAttention2DQKAutogradFunction",
                "NeighborhoodAttention2DAVAutogradFunction"), (3, 1)),
        (v017, ("NeighborhoodAttention2DQKAutogradFunction",
                "NeighborhoodAttention2DAVAutogradFunction"), (3, 1, (False, False))),
    ],
    ids=["0.14", "0.15", "0.17"],
)  # fmt: skip
def test_autograd_functions_by_name(version, names, arguments):
    extra = () if version is v014 else (None,)
    functions = [getattr(version.functional, name) for name in names]
    query, key, value = (rand(1, 2, 5, 6, 4).requires_grad_() for _ in range(3))
    bias = rand(2, 5, 5).requires_grad_()
    logits = functions[0].apply(query, key, bias, *extra, *arguments)
    out = functions[1].apply(logits.softmax(-1), value, *extra, *arguments)
    assert type(logits.grad_fn).__name__ == names[0] + "Backward"
    want = v014.functional.natten2dqkrpb(query, key, bias, 3, 1).softmax(-1)
    want = v014.functional.natten2dav(want, value, 3, 1)
    leaves, grad = (query, key, value, bias), torch.randn_like(out)
    assert torch.allclose(out, want)
    mine, theirs = (torch.autograd.grad(t, leaves, grad) for t in (out, want))
    for got, wanted in zip(mine, theirs, strict=True):
        assert torch.allclose(got, wanted)


def test_fused_autograd_function_gives_output_and_lse():
    query, key, value = (rand(1, 9, 2, 4).requires_grad_() for _ in range(3))
    function = v017.functional.FusedNeighborhoodAttention1D
    out, lse = function.apply(query, key, value, None, 3, 1, True, 0.5, None, None)
    assert torch.allclose(out, v017.functional.na1d(query, key, value, 3, is_causal=True))
    want = v021.na1d(query, key, value, 3, is_causal=True, return_lse=True)[1]
    assert torch.allclose(lse, want)


def test_cross_operations_write_their_outputs():
    query, key = rand(1, 2, 3, 4, 5).requires_grad_(), rand(1, 2, 6, 5).requires_grad_()
    want = torch.einsum("bhxyd,bhtd->bhxyt", query, key)
    out, grad = torch.empty_like(want), torch.randn_like(want)
    v015.ops.qk_cross_forward(query.detach(), key.detach(), out)
    assert torch.allclose(out, want)
    d_query, d_key = torch.empty_like(query), torch.empty_like(key)
    v015.ops.qk_cross_backward(query.detach(), grad, key.detach(), d_query, d_key)
    for got, wanted in zip((d_query, d_key), torch.autograd.grad(want, (query, key), grad),
                           strict=True):  # fmt: skip
        assert torch.allclose(got, wanted)
    attn, value = want.detach().requires_grad_(), key.detach().requires_grad_()
    want = torch.einsum("bhxyt,bhtd->bhxyd", attn, value)
    out, grad = torch.empty_like(want), torch.randn_like(want)
    v017.ops.av_cross_forward(attn.detach(), value.detach(), out)
    assert torch.allclose(out, want)
    d_attn, d_value = torch.empty_like(attn), torch.empty_like(value)
    v017.ops.av_cross_backward(grad, value.detach(), attn.detach(), d_attn, d_value)
    for got, wanted in zip((d_attn, d_value), torch.autograd.grad(want, (attn, value), grad),
                           strict=True):  # fmt: skip
        assert torch.allclose(got, wanted)


@pytest.mark.parametrize("version", [v014, v015, v017])
@pytest.mark.parametrize("heads", [2, 6])
def test_transformers_transposed_layout(version, heads):
    """With six heads and six columns only strides tell the layouts apart."""
    functional = version.functional
    x = rand(1, 5, 6, heads, 4)  # [B, X, Y, H, D]
    usual, unusual = x.movedim(3, 1), x.transpose(1, 2)
    bias = rand(heads, 5, 5)
    logits = functional.natten2dqkrpb(usual, usual, bias, 3, 1)
    assert torch.equal(functional.natten2dqkrpb(unusual, unusual, bias, 3, 1), logits)
    dense = usual.contiguous()
    assert torch.allclose(functional.natten2dqkrpb(dense, dense, bias, 3, 1), logits)
    out = functional.natten2dav(logits.softmax(-1), usual, 3, 1)
    assert torch.equal(functional.natten2dav(logits.softmax(-1), unusual, 3, 1), out)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("dilation", [None, (1, 2)])
def test_token_permutation_020(flip, dilation):
    """The orders that 0.20.1 returned for these inputs."""
    tokens = v020.token_permute
    x = torch.arange(24.0).reshape(1, 4, 6, 1, 1)
    padded, amounts = tokens.maybe_pad(x, (2, 2), dilation)
    assert amounts == ((0, 0) if dilation is None else (0, 2))
    permuted, group, counts = tokens.token_permute(padded, (2, 2), dilation, flip)
    back = tokens.token_unpermute(permuted, (2, 2), group, counts, dilation, flip)
    assert torch.equal(tokens.maybe_unpad(back, amounts), x)
    permuted, group, counts = tokens.token_permute(x, (2, 1), (1, 2), True)
    assert (group, counts) == ((4, 3), (2, 3))
    assert permuted[0, :, :, 0].tolist()[:3] == [[0, 1], [6, 7], [12, 13]]


def _fresh(version):
    version.context.NattenContext.reset()
    version.context.AutotunerContext.reset()


@pytest.fixture
def switches_017():
    _fresh(v017)
    yield v017
    _fresh(v017)
    torch.use_deterministic_algorithms(False)


def test_autotuner_under_torch_s_deterministic_mode(switches_017, caplog):
    """It warns and changes nothing; NATTEN's own mode refuses, but only when turned on."""
    torch.use_deterministic_algorithms(True)
    logging.getLogger("natten.context").propagate = True
    switches_017.use_autotuner(True)
    assert "deterministic" in caplog.text
    assert not switches_017.is_autotuner_enabled()
    torch.use_deterministic_algorithms(False)
    switches_017.use_deterministic_algorithms(True)
    with pytest.raises(RuntimeError, match="deterministic"):
        switches_017.use_autotuner(False, True)
    switches_017.use_autotuner(False, False)
    switches_017.use_deterministic_algorithms(False)
    switches_017.use_autotuner(True, thorough_mode_forward=True, steps_forward=7)
    assert switches_017.is_autotuner_enabled_for_forward()
    assert switches_017.is_autotuner_thorough_for_forward()
    assert switches_017.context.AutotunerContext.steps_forward == 7
    switches_017.disable_autotuner()
    assert not switches_017.is_autotuner_thorough_for_forward()


def test_flex_attention_is_remembered(switches_017):
    context = switches_017.context
    assert not context.should_use_flex_attention()
    switches_017.use_flex_attention()
    assert (context.should_use_flex_attention(), context.should_force_flex_attention()) == (
        True,
        False,
    )
    switches_017.force_flex_attention()
    assert context.should_force_flex_attention()
    switches_017.use_fused_na(False)
    assert not context.should_use_flex_attention()


def test_kv_parallelism_follows_fused_attention(switches_017):
    switches_017.use_fused_na()
    assert switches_017.is_kv_parallelism_in_fused_na_enabled()
    switches_017.use_fused_na(False)
    assert not switches_017.is_kv_parallelism_in_fused_na_enabled()
    switches_017.use_deterministic_algorithms()
    switches_017.use_fused_na(False, kv_parallel=True)
    with pytest.raises(RuntimeError, match="Deterministic"):
        switches_017.use_fused_na(True, kv_parallel=True)


def _lengths(*values):
    return torch.tensor(values, dtype=torch.int32)


def test_nothing_packed_may_be_said_in_two_ways():
    query, key = rand(2, 5, 2, 4), rand(2, 6, 2, 4)
    want = v021.attention(query, key, key)
    for maxima in ({"max_seqlen_Q": 0, "max_seqlen_KV": 0}, {"max_seqlen_Q": 0}):
        got = v021.attention(
            query, key, key, cumulative_seqlen_Q=None, cumulative_seqlen_KV=None, **maxima
        )
        assert torch.equal(got, want)
    with pytest.raises(ValueError, match="to be set"):
        v021.attention(query, key, key, max_seqlen_Q=5, max_seqlen_KV=6)


def test_lengths_win_over_cumulative_lengths():
    query = rand(1, 8, 2, 4)
    lengths = {"seqlens_Q": _lengths(3, 5), "seqlens_KV": _lengths(3, 5)}
    other = {
        "cumulative_seqlen_Q": _lengths(0, 4, 8),
        "cumulative_seqlen_KV": _lengths(0, 4, 8),
        "max_seqlen_Q": 4,
        "max_seqlen_KV": 4,
    }
    want = v021.attention(query, query, query, **lengths)
    assert torch.equal(v021.attention(query, query, query, **lengths, **other), want)
    assert not torch.equal(v021.attention(query, query, query, **other), want)


def test_packed_sequences_compile_in_full():
    leaves = [rand(1, 8, 2, 4).requires_grad_() for _ in range(3)]
    cumulative = _lengths(0, 3, 7)

    def attend(query, key, value, cumulative):
        names = {"cumulative_seqlen_Q": cumulative, "cumulative_seqlen_KV": cumulative}
        out, lse = v021.attention(
            query * 2, key, value, True, **names, max_seqlen_Q=4, max_seqlen_KV=4, return_lse=True
        )
        return out.sin(), lse[:, :7].cos()

    wanted = attend(*leaves, cumulative)
    got = torch.compile(attend, fullgraph=True, backend="aot_eager")(*leaves, cumulative)
    grads = [torch.randn_like(t) for t in wanted]
    mine = torch.autograd.grad(got, leaves, grads)
    theirs = torch.autograd.grad(wanted, leaves, grads)
    for one, other in zip((*got, *mine), (*wanted, *theirs), strict=True):
        assert torch.allclose(one, other)


def _own_calls(call):
    """Counts calls of this package's Python functions once everything about a shape is cached."""
    call()
    seen = []

    def profile(frame, event, argument):
        if event == "call" and "natten_mps" in frame.f_code.co_filename:
            seen.append(frame.f_code.co_name)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


X = torch.randn(1, 4, 4, 4, 8)
CALLS = {
    "0.21": lambda: v021.na2d(X, X, X, 3),
    "0.21 per axis": lambda: v021.na2d(X, X, X, (3, 2), (1, 2), 1, [True, False], return_lse=True),
    "0.20": lambda: v020.na2d(X, X, X, 3),
    "0.17 fused": lambda: v017.functional.na2d(X, X, X, 3),
    "0.17 split": lambda: v017.functional.na2d_qk(X, X, 3, dilation=1, is_causal=True),
}


@pytest.mark.parametrize("what", CALLS)
def test_what_a_call_costs_in_calls(what):
    with use_backend("auto"):
        assert 1 <= len(_own_calls(CALLS[what])) <= 35


def test_remembered_windows_tell_types_apart():
    """True == 1, but 1 is a number of keys and True marks a causal axis."""
    v021.na1d(*(rand(1, 6, 1, 4),) * 3, (3,), is_causal=(True,))
    for arguments in ({"is_causal": (1,)}, {"is_causal": (True,), "stride": 1.0}):
        with pytest.raises(ValueError, match="Invalid value"):
            v021.na1d(*(rand(1, 6, 1, 4),) * 3, (3,), **arguments)
    v017.functional.na1d_qk(*(rand(1, 1, 6, 4),) * 2, 3, 1, is_causal=True)
    with pytest.raises(ValueError, match="Invalid value"):
        v017.functional.na1d_qk(*(rand(1, 1, 6, 4),) * 2, 3, 1, is_causal=1)
    windows = arguments_021.window
    for length in range(windows.most + 3):
        windows(1, length + 2, 1, 1, False)
    assert len(windows._known) <= windows.most
