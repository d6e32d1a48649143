# SPDX-License-Identifier: MIT
"""Attention over few tokens, as compiled programs compute it, against `pure`."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from problems import drawn

from natten_mps import _dense, pure
from natten_mps.ops import Window


def plain(problem):
    """The problem with queries, keys and values of one shape and nothing else."""
    return dataclasses.replace(
        problem, kv_heads=problem.heads, value_dim=problem.head_dim, extra=0, rpb=False, sizes=None
    )


@settings(deadline=None)
@given(drawn())
def test_dense_equals_pure(problem):
    problem = plain(problem)
    inputs = problem.inputs("attn", "float64")
    options = problem.options("attn")
    rule = (problem.window, problem.scale, problem.heads_first)
    assert _dense.takes(list(inputs.values()), *rule)
    results = [function(**inputs, **options) for function in (_dense.attn, pure.attn)]
    torch.testing.assert_close(*results)
    grads = [
        torch.autograd.grad(out.sin().sum() + lse.cos().sum(), inputs.values())
        for out, lse in results
    ]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_dense_sums_in_float32(dtype):
    q = torch.randn(1, 16, 2, 16).to(dtype)
    window = Window((7,), (1,), (1,), (1,), (True,))
    options = {"window": window, "scale": None, "heads_first": False}
    results = [function(q, q, q, **options) for function in (_dense.attn, pure.attn)]
    assert [x.dtype for x in results[0]] == [dtype, torch.float32]
    torch.testing.assert_close(*results)
