# SPDX-License-Identifier: MIT
"""Bad input, row by row, of each generation it belongs to; and what upstream refuses for lack of
a kernel and works here."""

import pytest
import torch

from natten_mps.compat import for_version

v014, v015, v017, v020, v021 = map(for_version, ("0.14", "0.15", "0.17", "0.20", "0.21.7"))

HALF, BFLOAT, DOUBLE = torch.float16, torch.bfloat16, torch.float64
F14, F15, F17 = v014.functional, v015.functional, v017.functional


def rand(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=torch.float32).to(dtype)


Q1 = rand(1, 2, 12, 4)  # heads first
Q2 = rand(1, 2, 8, 8, 4)
Q3 = rand(1, 2, 6, 6, 6, 4)
A1 = rand(1, 2, 12, 3)
L1 = rand(1, 12, 2, 4)  # heads last
X1 = rand(1, 8, 64)
SMALL = "greater than or equal to"

ROWS_014 = [
    (RuntimeError, "Input sequence length must be greater than or equal to kernel size x dilation",
     lambda: F14.natten1dqk(Q1, Q1, 5, 3)),
    (RuntimeError, "Input resolution must be greater than or equal to kernel size x dilation",
     lambda: F14.natten2dqk(Q2, Q2, 5, 2)),
    (RuntimeError, "Input sequence length", lambda: F14.natten1dav(A1, Q1, 3, 5)),
    (RuntimeError, "expected scalar type Float but found Double",
     lambda: F14.natten1dqkrpb(Q1, Q1, rand(2, 5).double(), 3, 1)),
    (RuntimeError, "kernel size", lambda: F14.natten1dqkrpb(Q1, Q1, rand(2, 9), 3, 1)),
    (RuntimeError, "kernel size 3", lambda: F14.natten1dav(A1, Q1, 5, 1)),
    (AssertionError, "Kernel size must be an odd number greater than 1, got 4",
     lambda: v014.NeighborhoodAttention1D(8, 2, 4)),
    (AssertionError, "Kernel size must be an odd number greater than 1, got 1",
     lambda: v014.NeighborhoodAttention2D(8, 2, 1)),
    (AssertionError, "Dilation must be greater than or equal to 1, got 0",
     lambda: v014.NeighborhoodAttention2D(8, 2, 3, 0)),
    (ValueError, "rank", lambda: v014.NeighborhoodAttention2D(8, 2, 3)(rand(1, 8, 8))),
    (TypeError, "is_causal", lambda: v014.NeighborhoodAttention1D(8, 2, 3, is_causal=True)),
]  # fmt: skip

TOKENS = rand(1, 2, 3, 4)
ROWS_015 = [
    (RuntimeError, "Kernel size must be an odd number greater than 1, got 4",
     lambda: F15.na1d_qk(Q1, Q1, 4, 1)),
    (RuntimeError, "Dilation must be a nonnegative integer, got 0",
     lambda: F15.na1d_qk(Q1, Q1, 3, 0)),
    (RuntimeError, "Got kernel size 3, dilation 5, but dimension size was 12",
     lambda: F15.na1d_qk(Q1, Q1, 3, 5)),
    (RuntimeError, "Input tensors must match in dtype!",
     lambda: F15.na1d_qk(Q1, Q1.double(), 3, 1)),
    (RuntimeError, "on the same device", lambda: F15.na1d_qk(Q1, Q1.to("meta"), 3, 1)),
    (RuntimeError, "Expected 4-D tensors", lambda: F15.na1d_qk(Q2, Q2, 3, 1)),
    (RuntimeError, "Tensor shape mismatch at dimension 2: 12 != 11",
     lambda: F15.na1d_qk(Q1, Q1[:, :, :11], 3, 1)),
    (RuntimeError, "Expected attention dim was 5, got 3", lambda: F15.na1d_av(A1, Q1, 5, 1)),
    (RuntimeError, "Invalid bias shape at dim 1; expected 5, got 9",
     lambda: F15.na1d_qk_with_bias(Q1, Q1, rand(2, 9), 3, 1)),
    (ValueError, "rank-4 tensor; got 3", lambda: F15.na1d_qk(Q1, Q1, 3, 1, TOKENS[0])),
    (ValueError, "Shape mismatch between input tensor and additional tokens",
     lambda: F15.na1d_qk(Q1, Q1, 3, 1, rand(1, 2, 3, 5))),
    (ValueError, "Expected 6 attention weights per token",
     lambda: F15.na1d_av(A1, Q1, 3, 1, TOKENS)),
    (ValueError, "nested", lambda: F15.na1d_qk(torch.nested.nested_tensor([Q1[0]]), Q1, 3, 1)),
    (ValueError, "inference only", lambda: F15.na1d_qk(
        *(torch.nested.nested_tensor([Q1[0]], requires_grad=True),) * 2, 3, 1)),
    (AssertionError, "odd number", lambda: v015.NeighborhoodAttention3D(8, 2, 3, 4)),
    (AssertionError, "Dilation", lambda: v015.NeighborhoodAttention3D(8, 2, 3, dilation_d=0)),
    (ValueError, r"NeighborhoodAttention1D expected a rank-3 input tensor; got x.dim\(\)=4",
     lambda: v015.NeighborhoodAttention1D(8, 2, 3)(rand(1, 4, 4, 8))),
]  # fmt: skip

ROWS_017 = [
    (RuntimeError, "only supports odd-sized kernel sizes, got 4",
     lambda: F17.na1d_qk(Q1, Q1, 4)),
    (RuntimeError, "Kernel size must be greater than 1, got 1", lambda: F17.na1d_qk(Q1, Q1, 1)),
    (RuntimeError, "Dilation must be a nonnegative integer, got 0",
     lambda: F17.na1d_qk(Q1, Q1, 3, 0)),
    (RuntimeError, "Got kernel size 3, dilation 5, but dimension size was 12",
     lambda: F17.na1d_qk(Q1, Q1, 3, 5)),
    (NotImplementedError, "Positional biases for causal neighborhood attention",
     lambda: F17.na1d_qk(Q1, Q1, 3, is_causal=True, rpb=rand(2, 5))),
    (ValueError, "Invalid value for `kernel_size`; expected an integer or tuple of integers",
     lambda: F17.na1d_qk(Q1, Q1, None)),
    (ValueError, "Invalid value for `kernel_size`", lambda: F17.na2d_qk(Q2, Q2, (3, 3, 3))),
    (ValueError, "Invalid value for `dilation`", lambda: F17.na2d_qk(Q2, Q2, 3, 1.5)),
    (ValueError, "expected a boolean or tuple of booleans",
     lambda: F17.na1d_qk(Q1, Q1, 3, is_causal=1)),
    (TypeError, "dilation", lambda: F17.na3d_av(rand(1, 2, 6, 6, 6, 27), Q3, 3)),
    (NotImplementedError, "does not support nested tensors yet",
     lambda: F17.na1d(*(torch.nested.nested_tensor([L1[0]]),) * 3, 3)),
    (ValueError, "either both", lambda: F17.na1d(L1, L1, L1, 3, additional_keys=rand(1, 3, 2, 4))),
    (RuntimeError, "greater than 1", lambda: F17.na1d(L1, L1, L1, 1)),
    (NotImplementedError, "xformers", lambda: F17.na1d(L1, L1, L1, 3, xformers_kwargs={"p": 0.5})),
    (NotImplementedError, "positional bias",
     lambda: v017.NeighborhoodAttention1D(8, 2, 3, is_causal=True, rel_pos_bias=True)),
    (NotImplementedError, "experimental",
     lambda: v017.NeighborhoodAttention1D(64, 2, 3, use_experimental_ops=True)(X1)),
    (TypeError, "bias", lambda: v017.NeighborhoodAttention1D(8, 2, 3, bias=True)),
    (RuntimeError, "odd-sized", lambda: v017.NeighborhoodAttention1D(64, 2, 4)(X1)),
    (RuntimeError, SMALL, lambda: v017.NeighborhoodAttention1D(64, 2, 9)(X1)),
    (ValueError, "rank-4", lambda: v017.NeighborhoodAttention2D(64, 2, 3)(X1)),
    (ValueError, "default.*strict.*unrestricted", lambda: v017.set_memory_usage_preference("all")),
    (ValueError, "forward", lambda: v017.use_autotuner(1)),
    (ValueError, "steps", lambda: v017.use_autotuner(True, steps_forward=1.5)),
]  # fmt: skip


def _both(version):
    na1d, attention, merge = version.na1d, version.attention, version.merge_attentions
    module = version.NeighborhoodAttention1D
    lse = rand(1, 12, 2)
    return [
        (NotImplementedError, "Unrecognized NATTEN backend foo",
         lambda: na1d(L1, L1, L1, 3, backend="foo")),
        (NotImplementedError, "Unrecognized NATTEN FMHA backend foo",
         lambda: attention(L1, L1, L1, backend="foo")),
        (ValueError, "`kernel_size`; expected an integer or iterable of integers, all >= 2",
         lambda: na1d(L1, L1, L1, 1)),
        (ValueError, "`kernel_size`.*float", lambda: na1d(L1, L1, L1, 2.5)),
        (ValueError, "`kernel_size`.*tuple", lambda: na1d(L1, L1, L1, (3, 3))),
        (ValueError, "`stride`; expected an integer or tuple of positive integers",
         lambda: na1d(L1, L1, L1, 3, 0)),
        (ValueError, "`dilation`; expected an integer or tuple of positive integers",
         lambda: na1d(L1, L1, L1, 3, 1, 0)),
        (ValueError, "`is_causal`; expected a boolean or tuple of booleans",
         lambda: na1d(L1, L1, L1, 3, is_causal=1)),
        (ValueError, "The product of kernel size and dilation cannot be larger than input size",
         lambda: na1d(L1, L1, L1, 3, dilation=5)),
        (ValueError, "Stride cannot be larger than kernel size",
         lambda: na1d(L1, L1, L1, 3, stride=4)),
        (ValueError, "must assume the same data type", lambda: na1d(L1, L1.half(), L1, 3)),
        (ValueError, "must be on the same device", lambda: na1d(L1, L1.to("meta"), L1, 3)),
        (NotImplementedError, "does not support nested tensors",
         lambda: na1d(*(torch.nested.nested_tensor([L1[0]]),) * 3, 3)),
        (ValueError, r"Expected 4-D, 5-D, or 6-D tensors.*query.dim\(\)=3",
         lambda: na1d(L1[0], L1[0], L1[0], 3)),
        (ValueError, "either both Tensors or None",
         lambda: na1d(L1, L1, L1, 3, additional_keys=rand(1, 3, 2, 4))),
        (ValueError, "expects at least two tensors", lambda: merge([L1], [lse])),
        (ValueError, "Kernel schedule", lambda: na1d(L1, L1, L1, 3, kernel_schedule="bar")),
        (ValueError, "both q_tile_shape and kv_tile_shape",
         lambda: na1d(L1, L1, L1, 3, q_tile_shape=(64,))),
        (TypeError, "attention_kwargs", lambda: na1d(L1, L1, L1, 3, attention_kwargs={"x": 1})),
        (ValueError, "embed_dim=65, num_heads=2", lambda: module(65, 2, 3)),
        (ValueError, "`kernel_size`", lambda: module(64, 2, None)),
        (ValueError, "`dilation`", lambda: module(64, 2, 3, dilation=0)),
        (ValueError, "with rank 3", lambda: module(64, 2, 3)(rand(1, 4, 4, 64))),
        (ValueError, "Expected embedding dimension 64, got 32",
         lambda: module(64, 2, 3)(rand(1, 8, 32))),
        (ValueError, "product of kernel size", lambda: module(64, 2, 9)(X1)),
        (TypeError, "dim", lambda: module(dim=64, num_heads=2, kernel_size=3)),
        (TypeError, "attn_drop", lambda: module(64, 2, 3, attn_drop=0.1)),
    ]  # fmt: skip


FEWER = L1[:, :, :1]
ROWS_020 = [
    *_both(v020),
    (ValueError, "expect Q, K, and V to have the same shape",
     lambda: v020.na1d(L1, FEWER, FEWER, 3)),
    (ValueError, "do not support GQA/MQA", lambda: v020.attention(L1, FEWER, FEWER)),
    (TypeError, "return_lse", lambda: v020.na1d(L1, L1, L1, 3, return_lse=True)),
]  # fmt: skip
ROWS_021 = [
    *_both(v021),
    (ValueError, "same number of heads", lambda: v021.na1d(L1, FEWER, L1, 3)),
    (ValueError, "must evenly divide", lambda: v021.na1d(rand(1, 12, 3, 4), L1, L1, 3)),
    (NotImplementedError, "sparse", lambda: v021.na1d(L1.to_sparse(), L1, L1, 3)),
    (ValueError, "match in their token layouts", lambda: v021.na1d(L1, L1[:, 1:], L1[:, 1:], 3)),
    (TypeError, "try_fuse_additional_kv",
     lambda: v021.na1d(L1, L1, L1, 3, try_fuse_additional_kv=True)),
]  # fmt: skip

ROWS = {"0.14": ROWS_014, "0.15": ROWS_015, "0.17": ROWS_017, "0.20": ROWS_020, "0.21": ROWS_021}


@pytest.mark.parametrize(
    ("kind", "text", "call"),
    [
        pytest.param(*row, id=f"{generation}-{i}")
        for generation, rows in ROWS.items()
        for i, row in enumerate(rows)
    ],
)
def test_bad_input(kind, text, call):
    with pytest.raises(kind, match=text) as caught:
        call()
    assert caught.type is kind


# Each returns a tensor although upstream's version raises, or ends the process.
BETTER = {
    "0.14 float16": lambda: F14.natten1dqk(Q1.half(), Q1.half(), 3, 1),
    "0.14 bfloat16": lambda: F14.natten2dqk(Q2.bfloat16(), Q2.bfloat16(), 3, 1),
    "0.14 strided bias": lambda: F14.natten1dqkrpb(Q1, Q1, rand(5, 2).T, 3, 1),
    "0.14 dilation 0": lambda: F14.natten1dqk(Q1, Q1, 3, 0) - F14.natten1dqk(Q1, Q1, 3, 1),
    "0.15 float16": lambda: F15.na1d_qk(Q1.half(), Q1.half(), 3, 1),
    "0.15 shallow": lambda: v015.NeighborhoodAttention3D(8, 2, 3)(rand(1, 2, 4, 4, 8)),
    "0.17 fused on a CPU": lambda: F17.na1d(L1, L1, L1, 3),
    "0.17 fused float64": lambda: F17.na1d(L1.double(), L1.double(), L1.double(), 3),
    "0.17 fused values": lambda: F17.na1d(L1, L1, rand(1, 12, 2, 7), 4),
    "0.20 head dim": lambda: v020.na1d(L1, L1, L1, 3),
    "0.20 float64": lambda: v020.na1d(L1.double(), L1.double(), L1.double(), 3),
    "0.20 cutlass": lambda: v020.na1d(L1, L1, L1, 3, backend="cutlass-fna"),
    "0.21 values": lambda: v021.na1d(L1, L1, rand(1, 12, 2, 7), 3),
    "0.21 causal over all": lambda: v021.na1d(L1, L1, L1, 12, is_causal=True),
    "0.21 causal attention": lambda: v021.attention(L1, L1, L1, True),
    "0.21 empty batch": lambda: v021.na1d(L1[:0], L1[:0], L1[:0], 3),
    "0.21 compiled": lambda: v021.na1d(L1, L1, L1, 3, torch_compile=True),
}


@pytest.mark.parametrize("what", BETTER)
def test_works_where_upstream_refuses(what):
    assert torch.isfinite(BETTER[what]().float()).all()


def test_switches_are_remembered():
    for version in (v017, v020, v021):
        version.context.NattenContext.reset()
        version.use_deterministic_algorithms(True)
        with pytest.raises(RuntimeError, match=r"[Dd]eterministic"):
            version.use_kv_parallelism_in_fused_na(True)
        version.context.NattenContext.reset()
        version.set_memory_usage_preference("strict")
        assert version.is_memory_usage_strict()
        version.context.NattenContext.reset()
        assert version.is_memory_usage_default()
    for version in (v020, v021):
        version.allow_flex_compile(backprop=True)
        version.disable_flex_compile_backprop()
        assert version.is_flex_compile_allowed()
        assert not version.is_flex_compile_backprop_allowed()
        version.disable_flex_compile()
        assert not version.is_flex_compile_allowed()


def test_capabilities_are_truthful():
    for version in (v015, v017):
        assert not version.has_cuda()
        assert not version.has_gemm()
        assert version.has_half(0)
        assert version.has_bfloat()
    assert v017.has_fused_na()
    assert not v017.is_fused_na_enabled()
