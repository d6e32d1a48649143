# SPDX-License-Identifier: MIT
"""The table on the GPU backend: on a Mac's MPS device, or on the simulated Metal that
NATTEN_MPS_SIMULATOR names, where CPU tensors stand in for MPS tensors. ./build.sh test metal runs
all tests once per tier."""

import dataclasses
import os
import random

import pytest
import torch
from parts import compare
from problems import OPS, assert_near, cases, run, tolerance

from natten_mps import backend
from natten_mps._mps.device import carrier

if not backend.available("metal"):
    if "metal" in os.environ.get("NATTEN_TEST_REQUIRE", "").split(","):
        raise RuntimeError(f"NATTEN_TEST_REQUIRE wants metal: {backend.details('metal')}")
    pytest.skip(f"no GPU: {backend.details('metal')}", allow_module_level=True)


#: "mps" on a Mac; on the simulator CPU tensors are what lies in Metal memory.
DEVICE = carrier().device


def _compare(problem, op, dtype, change=lambda t: t):
    inputs = {n: t.detach() for n, t in problem.inputs(op, dtype).items()}
    on_gpu = {n: change(t.to(DEVICE)).requires_grad_() for n, t in inputs.items()}
    outputs, grads = run(problem, op, on_gpu, "metal")
    assert all(t.device.type == DEVICE for t in outputs.values())
    want_outputs, want_grads = run(
        problem, op, {n: t.requires_grad_() for n, t in inputs.items()}, "reference"
    )
    for what, want in want_outputs.items():
        assert_near(outputs[what].cpu(), want, tolerance(op, dtype, "forward"), what)
    for what, want in want_grads.items():
        assert_near(grads[what].cpu(), want, tolerance(op, dtype, "backward"), what)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("problem", cases(), ids=lambda p: p.name)
def test_table(problem, op, dtype):
    _compare(problem, op, dtype)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("problem", cases()[:8], ids=lambda p: p.name)
def test_heads_first(problem, op):
    _compare(dataclasses.replace(problem, heads_first=True), op, "float32")


def _some_ranges():
    """Some problems, each with an operation, a type, a number of ranges and an axis."""
    draw = random.Random(20)
    for problem in draw.sample(cases(), 24):
        dtype, pieces = draw.choice(["float32", "float16", "bfloat16"]), draw.choice([2, 3, 7])
        yield problem, draw.choice(OPS), dtype, pieces, [draw.randrange(problem.rank)]


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize(
    ("problem", "op", "dtype", "pieces", "axes"),
    list(_some_ranges()),
    ids=lambda value: getattr(value, "name", None),
)
def test_ranges(problem, op, dtype, pieces, axes):
    compare(problem, op, dtype, pieces, "metal", device=DEVICE, axes=axes)


@pytest.mark.slow
@pytest.mark.parametrize("pieces", [2, 3, 7])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("problem", cases(), ids=lambda p: p.name)
def test_every_range(problem, op, pieces):
    compare(problem, op, "float32", pieces, "metal", device=DEVICE)


def _view_at(offset):
    """Copies a tensor into a larger storage, `offset` elements from its beginning."""

    def moved(tensor):
        storage = tensor.new_full((tensor.numel() + offset + 3,), torch.nan)
        view = storage[offset : offset + tensor.numel()].view(tensor.shape)
        return view.copy_(tensor)

    return moved


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("offset", [1, 3, 4, 8, 1000])
@pytest.mark.parametrize("op", OPS)
def test_views_with_offsets(op, offset, dtype):
    _compare(cases()[0], op, dtype, _view_at(offset))


def test_float64_is_refused_with_the_reason():
    problem = cases()[0]
    with pytest.raises(NotImplementedError, match="Metal has float32, float16 and bfloat16"):
        run(problem, "attn", problem.inputs("attn", "float64"), "metal")
