# SPDX-License-Identifier: MIT
"""What PyTorch does with operations: check, transform, count, checkpoint."""

import dataclasses

import pytest
import torch
from problems import OPS, call
from test_gradcheck import FEATURES, PLAIN
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import natten_mps as nm
from natten_mps import backend, ops

REGISTERED = torch.ops.natten_mps


def arguments(problem, op):
    """Positional arguments of the registered operation."""
    inputs = problem.inputs(op, "float64")
    names = {
        "attn": ("query", "key", "value", "rpb", "extra_key", "extra_value"),
        "qk": ("query", "key", "rpb", "extra_key"),
        "av": ("attn", "value", "extra_value"),
    }[op]
    options = problem.options(op)
    tensors = [inputs.get(name) for name in names]
    rule = (options.get("sizes"), *problem.window[:6], options.get("scale"), problem.heads_first)
    return tensors, rule


@pytest.mark.parametrize("name", ["native", pytest.param("pure", marks=pytest.mark.slow)])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    "feature", ["plain", "rank-2", "causal", "rpb", "extra", "ragged", "heads-first"]
)
def test_opcheck(feature, op, name):
    backend.set_backend(name)
    problem = dataclasses.replace(PLAIN, **FEATURES[feature])
    tensors, rule = arguments(problem, op)
    function = getattr(REGISTERED, op).default
    torch.library.opcheck(function, (*tensors, *rule))
    plain = [None if t is None else t.detach() for t in tensors]
    torch.library.opcheck(function, (*plain, *rule))
    outputs = function(*plain, *rule)
    kept = outputs if op == "attn" else ()
    grads = [torch.randn_like(o) for o in (outputs if op == "attn" else (outputs,))]
    wanted = [t is not None for t in tensors]
    torch.library.opcheck(
        getattr(REGISTERED, op + "_backward").default, (*plain, *kept, *grads, *rule, wanted)
    )


def scalar(problem, op, inputs):
    """A scalar function of the first input alone."""
    first, *rest = inputs

    def function(x):
        outputs = call(op, {first: x, **{n: inputs[n] for n in rest}}, problem.options(op))
        return sum(o.masked_fill(~o.isfinite(), 0).sin().sum() for o in outputs)

    return function, inputs[first]


def nested(problem, op, inputs):
    """Gradient and Hessian through torch.autograd."""
    function, x = scalar(problem, op, inputs)
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(x), x, create_graph=True)
    rows = [torch.autograd.grad(g, x, retain_graph=True)[0] for g in gradient.flatten()]
    return gradient.detach(), torch.stack(rows).reshape(*x.shape, *x.shape)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("feature", ["plain", "causal", "rank-2", "gqa"])
def test_functional_transforms(feature, op):
    problem = dataclasses.replace(PLAIN, **{"batch": 1, "heads": 2, **FEATURES[feature]})
    backend.set_backend("pure")
    inputs = {n: t.detach() for n, t in problem.inputs(op, "float64").items()}
    gradient, hessian = nested(problem, op, inputs)
    backend.set_backend("native")
    function, x = scalar(problem, op, inputs)
    tangent = torch.randn_like(x)
    torch.testing.assert_close(torch.func.grad(function)(x), gradient)
    value, pull = torch.func.vjp(function, x)
    torch.testing.assert_close(pull(torch.ones_like(value))[0], gradient)
    value, slope = torch.func.jvp(function, (x,), (tangent,))
    torch.testing.assert_close(slope, (gradient * tangent).sum())
    torch.testing.assert_close(torch.func.hessian(function)(x), hessian)
    many = torch.stack([x, tangent])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(function))(many)[0], gradient)


def test_vmap_equals_a_loop():
    q = torch.randn(3, 2, 8, 2, 4)
    got = torch.func.vmap(lambda x: nm.na1d(x, x, x, 3))(q)
    torch.testing.assert_close(got, torch.stack([nm.na1d(x, x, x, 3) for x in q]))


def test_gradient_penalty():
    """Double backward when keys are computed from queries: each path counts once."""
    q = torch.randn(1, 6, 1, 3, dtype=torch.float64, requires_grad=True)

    def penalty(q):
        out = nm.na1d(q, q.tanh(), q * q, 3)
        (gradient,) = torch.autograd.grad(out.sin().sum(), q, create_graph=True)
        return gradient.square().sum()

    (got,) = torch.autograd.grad(penalty(q), q)
    nm.set_backend("pure")
    (want,) = torch.autograd.grad(penalty(q), q)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(reentrant):
    module = nm.NeighborhoodAttention1D(16, 2, 3)
    x = torch.randn(2, 9, 16, requires_grad=True)
    (want,) = torch.autograd.grad(module(x).square().sum(), x)
    checkpoint(module, x, use_reentrant=reentrant).square().sum().backward()
    torch.testing.assert_close(x.grad, want)


def test_deterministic_algorithms():
    q = torch.randn(2, 30, 2, 8, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        grads = [torch.autograd.grad(nm.na1d(q, q, q, 5).sum(), q)[0] for _ in range(3)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(grads[0], grads[1])
    assert torch.equal(grads[0], grads[2])


def test_flops_are_counted():
    q, v = torch.randn(2, 6, 7, 4, 8, requires_grad=True), torch.randn(2, 6, 7, 4, 5)
    with FlopCounterMode(display=False) as counter:
        out = nm.na2d(q, q, v, (3, 5))
    products = 2 * 2 * 6 * 7 * 4 * 15
    assert counter.get_total_flops() == products * (8 + 5)
    with FlopCounterMode(display=False) as counter:
        out = nm.na2d(q, q, v, (3, 5))
        out.sum().backward()
    assert counter.get_total_flops() == products * (8 + 5) + products * (3 * 8 + 2 * 5)


def test_profiler_names_operation_and_backend():
    q = torch.randn(1, 9, 1, 4, requires_grad=True)
    name = "native" if backend.choice == "auto" else backend.choice
    with torch.profiler.profile() as profile:
        nm.na1d(q, q, q, 3).sum().backward()
        nm.set_backend("pure")
        nm.na1d_qk(q, q, 3)
    names = {event.key for event in profile.key_averages()}
    assert {f"natten_mps::attn[{name}]", f"natten_mps::attn_backward[{name}]"} <= names
    assert "natten_mps::qk[pure]" in names


def test_inference_mode_and_no_grad():
    q = torch.randn(1, 9, 1, 4, requires_grad=True)
    want = nm.na1d(q, q, q, 3)
    for name in ("native", "pure"):
        nm.set_backend(name)
        with torch.inference_mode():
            assert not nm.na1d(q, q, q, 3).requires_grad
        with torch.no_grad():
            assert not nm.na1d(q, q, q, 3).requires_grad
        torch.testing.assert_close(nm.na1d(q, q, q, 3), want)


def test_meta_tensors_have_shapes():
    nm.set_backend("auto")
    q = torch.empty(2, 9, 4, 8, device="meta")
    out, lse = nm.na1d(q, q, q, 3, 2, return_lse=True)
    assert out.shape == (2, 5, 4, 8)
    assert lse.shape == (2, 5, 4)
    assert out.is_meta
    window = ops.Window((3,), (1,), (1,), (1,), (False,))
    assert ops.attn(q, q, q, window=window, heads_first=True)[0].shape == q.shape


def predecessors_operations(rank):
    """Arguments of natten-mps 0.3.3's registered operations, and what functional gives."""
    shape = (2, *(6, 5, 4)[:rank], 2, 8)
    q, k, v = (torch.randn(shape, requires_grad=True) for _ in range(3))
    kernel, dilation, causal = [3] * rank, [1] * rank, [True] + [False] * (rank - 1)
    stride = [2] + [1] * (rank - 1)
    sizes = torch.tensor([shape[1:-2], [3] * rank])
    sizes = sizes[:, 0] if rank == 1 else sizes
    options = {"stride": stride, "is_causal": causal}

    def function(name):
        return getattr(nm, f"na{rank}d{name}")

    logits = function("_qk")(q, k, 3, **options, scale=0.5)
    weights = logits.softmax(-1).detach().requires_grad_()
    return {
        "qk": ((q, k, kernel, dilation, stride, causal, 0.5), logits),
        "av": (
            (weights, v, kernel, dilation, stride, causal),
            function("_av")(weights, v, 3, **options),
        ),
        "fwd": (
            (q, k, v, kernel, stride, dilation, causal, None),
            function("")(q, k, v, 3, **options),
        ),
        "varlen_fwd": (
            (q, k, v, sizes, kernel, dilation, 0.5),
            function("_varlen")(q, k, v, sizes, 3, scale=0.5),
        ),
    }


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("name", ["qk", "av", "fwd", "varlen_fwd"])
def test_operations_of_the_predecessor(name, rank):
    arguments, want = predecessors_operations(rank)[name]
    operation = getattr(REGISTERED, f"na{rank}d_{name}").default
    got = operation(*arguments)
    torch.testing.assert_close(got, want)
    leaves = [x for x in arguments if isinstance(x, torch.Tensor) and x.requires_grad]
    finite = [x.masked_fill(~x.isfinite(), 0).square().sum() for x in (got, want)]
    gradients = [torch.autograd.grad(loss, leaves) for loss in finite]
    torch.testing.assert_close(*gradients)
    torch.library.opcheck(operation, arguments)
    meta = [x.to("meta") if isinstance(x, torch.Tensor) else x for x in arguments]
    assert operation(*meta).shape == want.shape
