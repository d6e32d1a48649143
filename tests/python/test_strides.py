# SPDX-License-Identifier: MIT
"""What fake tensors promise to a compiler is what the operations give: sizes, strides, dtypes."""

import pytest
import torch
from problems import OPS
from torch._subclasses import FakeTensorMode

import natten_mps as nm
from natten_mps import backend

SHAPE = (2, 5, 4, 2, 8)  # [B, H, W, heads, dim]
KERNEL, EXTRA = 3, 2


def _stored(order):
    """Stored in another order of dimensions."""

    def make(dense):
        inverse = [order.index(i) for i in range(dense.dim())]
        return dense.permute(order).contiguous().permute(inverse)

    return make


def _chunk(dense):
    """A third of the channels of a projection's output."""
    return torch.stack([dense] * 3, -3).unbind(-3)[1]


def _convolved(dense):
    """A chunk of the channels of a convolution's output, [B, C, H, W]."""
    flat = dense.flatten(-2).movedim(-1, 1)
    both = torch.cat([flat, flat], 1).contiguous()
    return both.chunk(2, 1)[0].movedim(1, -1).unflatten(-1, dense.shape[-2:])


def _channels_last(dense):
    flat = dense.flatten(-2).movedim(-1, 1).contiguous(memory_format=torch.channels_last)
    return flat.movedim(1, -1).unflatten(-1, dense.shape[-2:])


def _sliced(dense):
    wide = torch.cat([dense, dense], 2)
    return wide[:, :, 1 : 1 + dense.shape[2]]


def _every_second(axis):
    def make(dense):
        return dense.repeat_interleave(2, axis).movedim(axis, 0)[::2].movedim(0, axis)

    return make


LAYOUTS = {
    "dense": lambda dense: dense,
    "heads first": _stored((0, 3, 1, 2, 4)),
    "all reversed": _stored((4, 3, 2, 1, 0)),
    "batch innermost": _stored((1, 2, 3, 4, 0)),
    "chunk of a projection": _chunk,
    "convolution": _convolved,
    "channels last": _channels_last,
    "batch expanded": lambda dense: dense[:1].expand(dense.shape),
    "heads expanded": lambda dense: dense[..., :1, :].expand(dense.shape),
    "slice": _sliced,
    "every second row": _every_second(1),
    "every second channel": _every_second(-1),
    "width 1": _stored((0, 3, 2, 1, 4)),
}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def problem(op, layout, dtype):
    """The tensors of an operation, and its other arguments."""
    kernel = (KERNEL, 1) if layout == "width 1" else (KERNEL, KERNEL)
    shape = (*SHAPE[:2], 1, *SHAPE[3:]) if layout == "width 1" else SHAPE
    make = LAYOUTS[layout]

    def tensor(*last):
        dense = torch.randn(*shape[: 5 - len(last)], *last).to(dtype)
        return make(dense)

    slots = kernel[0] * kernel[1]
    query, weights = tensor(), tensor(slots)
    tensors = {
        "attn": [query, tensor(), tensor(), torch.randn(2, 2 * kernel[0] - 1, 2 * kernel[1] - 1)],
        "qk": [query, tensor(), torch.randn(2, 2 * kernel[0] - 1, 2 * kernel[1] - 1)],
        "av": [weights, tensor()],
    }[op]
    tensors = [t.to(dtype) if t.dim() == 3 else t for t in tensors]
    nothing = {"attn": 2, "qk": 1, "av": 1}[op]
    ones, causal = (1, 1), (True, False)
    rule = (None, kernel, ones, ones, ones, causal, False, None, False)
    return [*tensors, *[None] * nothing], rule


def described(tensors):
    tensors = tensors if isinstance(tensors, tuple | list) else [tensors]
    return [(tuple(t.shape), t.stride(), t.dtype) for t in tensors]


def both(function, tensors, *rest):
    """The function's results on the tensors, and the results that fake tensors predict."""
    real = function(*tensors, *rest)
    with FakeTensorMode() as mode:
        faked = [None if t is None else mode.from_tensor(t) for t in tensors]
        fake = function(*faked, *rest)
    return real, fake


@pytest.mark.parametrize("name", ["native", "pure"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fake_results_have_the_strides_of_real_ones(dtype, layout, op, name):
    backend.set_backend(name)
    tensors, rule = problem(op, layout, dtype)
    real, fake = both(getattr(torch.ops.natten_mps, op), tensors, *rule)
    assert described(fake) == described(real)
    outputs = list(real) if op == "attn" else [real]
    grads = [LAYOUTS[layout](torch.randn_like(outputs[0])), *map(torch.randn_like, outputs[1:])]
    kept = outputs if op == "attn" else []
    given = [t is not None for t in tensors]
    alone = [[i == j for j in range(len(given))] for i in range(sum(given))]
    function = getattr(torch.ops.natten_mps, op + "_backward")
    for wanted in (given, *alone):
        real, fake = both(function, [*tensors, *kept, *grads], *rule, wanted)
        assert described(fake) == described(real), wanted
        assert len(real) == sum(wanted)


def train(function, leaf, layout):
    out = function(LAYOUTS[layout](leaf))
    (gradient,) = torch.autograd.grad(out.float().square().sum(), leaf)
    return out.detach(), gradient


def compare_training(layout, dtype, **options):
    torch.compiler.reset()
    kernel = (KERNEL, 1) if layout == "width 1" else KERNEL
    shape = (*SHAPE[:2], 1, *SHAPE[3:]) if layout == "width 1" else SHAPE
    leaf = torch.randn(shape).to(dtype).requires_grad_()

    def function(x):
        return nm.na2d(x, x, x * 2, kernel)

    want = train(function, leaf, layout)
    got = train(torch.compile(function, **options), leaf, layout)
    close = {"rtol": 2e-2, "atol": 2e-2} if dtype.itemsize == 2 else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(got, want, **close)
    torch.compiler.reset()


@pytest.mark.parametrize("name", ["native", "pure"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_as_compiled_for_eager_backends(layout, name):
    backend.set_backend(name)
    compare_training(layout, torch.float32, backend="aot_eager", fullgraph=True)


@pytest.mark.parametrize("layout", ["convolution", "heads first"])
def test_training_compiled(layout):
    backend.set_backend("native")
    compare_training(layout, torch.bfloat16, fullgraph=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["native", "pure"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_training_compiled_everywhere(dtype, layout, name):
    backend.set_backend(name)
    compare_training(layout, dtype, fullgraph=True)
