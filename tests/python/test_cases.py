# SPDX-License-Identifier: MIT
"""Every row of the table on every backend, forward and gradients, against the reference."""

import dataclasses

import pytest
import torch
from problems import DTYPES, OPS, assert_near, cases, run, tolerance


def _compare(problem, op, dtype, name, slack=1):
    inputs = problem.inputs(op, dtype)
    before = {n: t.detach().clone() for n, t in inputs.items()}
    outputs, grads = run(problem, op, inputs, name)
    want_outputs, want_grads = run(problem, op, inputs, "reference")
    for what, want in want_outputs.items():
        assert_near(outputs[what], want, tolerance(op, dtype, "forward"), what)
    for what, want in want_grads.items():
        assert_near(grads[what], want, slack * tolerance(op, dtype, "backward"), what)
    for what, tensor in inputs.items():
        assert torch.equal(tensor, before[what]), f"{what} was changed"


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("problem", cases(), ids=lambda p: p.name)
def test_native(problem, op, dtype):
    _compare(problem, op, dtype, "native")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("problem", cases(), ids=lambda p: p.name)
def test_pure(problem, op, dtype):
    # The library's backward pass reads the output after rounding to the dtype, and pure's autograd
    # before it, so gradients of logits differ by half a unit in the output's last place.
    _compare(problem, op, dtype, "pure", slack=4 if dtype in ("float16", "bfloat16") else 1)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("name", ["native", "pure"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("problem", cases(), ids=lambda p: p.name)
def test_heads_first(problem, op, name):
    _compare(dataclasses.replace(problem, heads_first=True), op, "float32", name)
