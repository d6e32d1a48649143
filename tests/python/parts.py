# SPDX-License-Identifier: MIT
"""Problems of the table cut into ranges along an axis, against the whole problems."""

from itertools import pairwise

import torch
from problems import assert_near, call, tolerance

from natten_mps import backend
from natten_mps.utils.window import Ranges, keys_of


def _parts(length, step, pieces):
    """Up to `pieces` ranges of an axis, each of which begins with a computed query."""
    outputs = -(-length // step)
    cuts = sorted({outputs * i // pieces * step for i in range(pieces)} | {length})
    return list(pairwise(cuts))


def _cut(tensor, axis, begin, end, heads_first):
    return tensor.narrow(axis + (2 if heads_first else 1), begin, end - begin)


def part_of(problem, op, inputs, axis, first, end):
    """Arguments and options of a range along one axis, and where its outputs are."""
    window, whole = problem.window, tuple(problem.lengths)
    lengths = [whole[axis]] if problem.sizes is None else [n[axis] for n in problem.sizes]
    needs = [keys_of(window, axis, n, first, min(end, n) - first) for n in lengths if n > first]
    keys = range(
        min((need[0] for need in needs), default=0),
        max((need[-1] for need in needs), default=0) + 1,
    )
    step = window.query_step[axis]
    outputs = (first // step, -(-end // step))
    options, given = problem.options(op), dict(inputs)
    spans = {"query": (first, end), "attn": outputs, "key": (keys[0], keys[-1] + 1)}
    spans["value"] = spans["key"]
    for name, (begin, stop) in spans.items():
        if name in given:
            given[name] = _cut(given[name], axis, begin, stop, problem.heads_first)
    at = [tuple(p if a == axis else 0 for a in range(problem.rank)) for p in (first, keys[0])]
    options["window"] = window._replace(ranges=Ranges(*at, whole))
    return given, options, outputs


def leaves_of(inputs):
    return {name: t.detach().requires_grad_() for name, t in inputs.items()}


def _gradients(outputs, inputs, weights):
    """Add to the inputs' gradients those of a loss; an lse of padding has none."""
    outputs = [o.masked_fill(o == -torch.inf, 0) for o in outputs]
    torch.autograd.backward(outputs, weights)
    return {name: t.grad for name, t in inputs.items()}


def _output_axis(problem, axis):
    return axis + (2 if problem.heads_first else 1)


def compare(problem, op, dtype, pieces, name, *, device="cpu", axes=None):
    """Outputs and gradients of ranges, on a backend by name, against one call on the same."""
    backend.set_backend(name)
    whole = {n: t.detach().to(device) for n, t in problem.inputs(op, dtype).items()}
    leaves = leaves_of(whole)
    want = call(op, leaves, problem.options(op))
    weights = [torch.randn(o.shape, dtype=torch.float64).to(o.dtype).to(device) for o in want]
    want_grads = _gradients(want, leaves, weights)
    exact = dtype == "float64"
    for axis in range(problem.rank) if axes is None else axes:
        leaves = leaves_of(whole)
        for first, end in _parts(problem.lengths[axis], problem.window.query_step[axis], pieces):
            given, options, outputs = part_of(problem, op, leaves, axis, first, end)
            found = call(op, given, options)
            place = (_output_axis(problem, axis), outputs[0], outputs[1] - outputs[0])
            wanted, parts = ([t.narrow(*place) for t in those] for those in (want, weights))
            for got, part in zip(found, wanted, strict=True):
                what = f"{first} to {end} on axis {axis}"
                if exact:
                    torch.testing.assert_close(got, part, rtol=1e-12, atol=1e-13, equal_nan=True)
                else:
                    assert_near(got.cpu(), part.cpu(), tolerance(op, dtype, "forward"), what)
            _gradients(found, leaves, parts)
        for what, grad in want_grads.items():
            got = leaves[what].grad
            assert_near(got.cpu(), grad.cpu(), 2 * tolerance(op, dtype, "backward"), what)
