# SPDX-License-Identifier: MIT
"""Gradients against finite differences in float64."""

import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from problems import OPS, Problem, call, drawn

from natten_mps import backend

PLAIN = Problem(
    name="plain",
    rank=1,
    batch=2,
    heads=2,
    kv_heads=2,
    head_dim=3,
    value_dim=3,
    extra=0,
    lengths=[7],
    kernel=[3],
    dilation=[1],
    stride=[1],
    query_step=[1],
    causal=[False],
    mask_first=False,
    scale=None,
    rpb=False,
    sizes=None,
)
RANK_2 = {
    "rank": 2,
    "batch": 1,
    "lengths": [4, 5],
    "kernel": [3, 2],
    "dilation": [1, 2],
    "stride": [1, 1],
    "query_step": [1, 1],
    "causal": [False, False],
}
RANK_3 = {
    "rank": 3,
    "batch": 1,
    "heads": 1,
    "kv_heads": 1,
    "head_dim": 2,
    "lengths": [3, 2, 4],
    "kernel": [2, 1, 3],
    "dilation": [1, 2, 1],
    "stride": [1, 1, 1],
    "query_step": [1, 1, 1],
    "causal": [False, False, False],
}
FEATURES = {
    "plain": {},
    "rank-2": RANK_2,
    "rank-3": RANK_3,
    "even-kernel": {"kernel": [4]},
    "kernel-1": {"kernel": [1]},
    "full": {"kernel": [7]},
    "dilated": {"dilation": [2]},
    "causal": {"causal": [True]},
    "causal-mask-first": {"causal": [True], "mask_first": True},
    "gna-stride": {"stride": [3]},
    "gna-stride-causal": {"stride": [2], "causal": [True]},
    "query-step": {"query_step": [2]},
    "query-step-causal": {"query_step": [3], "causal": [True]},
    "scale": {"scale": -0.7},
    "gqa": {"kv_heads": 1},
    "value-dim": {"value_dim": 2},
    "rpb": {"rpb": True},
    "extra": {"extra": 2},
    "ragged": {"sizes": [[5], [7]]},
    "heads-first": {"heads_first": True},
}


def finite(problem, op, inputs):
    """The operation on the inputs' values with finite outputs: -inf has no differences."""

    def function(*values):
        outputs = call(op, dict(zip(inputs, values, strict=True)), problem.options(op))
        return tuple(o.masked_fill(~o.isfinite(), 0) for o in outputs)

    return function


def check(problem, op, name, order=1, **options):
    backend.set_backend(name)
    inputs = problem.inputs(op, "float64")
    checks = {1: torch.autograd.gradcheck, 2: torch.autograd.gradgradcheck}
    assert checks[order](finite(problem, op, inputs), tuple(inputs.values()), **options)


@pytest.mark.parametrize("name", ["native", "pure"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("feature", FEATURES)
def test_feature(feature, op, name):
    check(dataclasses.replace(PLAIN, **FEATURES[feature]), op, name)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("feature", FEATURES)
def test_second_order(feature, op):
    check(dataclasses.replace(PLAIN, **FEATURES[feature]), op, "native", 2, fast_mode=True)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("feature", FEATURES)
def test_forward_mode(feature, op):
    problem = dataclasses.replace(PLAIN, **FEATURES[feature])
    check(problem, op, "native", check_forward_ad=True, check_backward_ad=False)


@pytest.mark.parametrize("op", OPS)
@given(problem=drawn())
@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_drawn(op, problem):
    check(problem, op, "native", fast_mode=True)
