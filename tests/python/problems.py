# SPDX-License-Identifier: MIT
"""Problems as data: the table tests/cases.json, problems drawn by hypothesis, and running both."""

import json
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path

import torch
from hypothesis import strategies as st

from natten_mps import backend, ops
from natten_mps.ops import Window

DTYPES = ("float32", "float16", "bfloat16", "float64")
OPS = ("attn", "qk", "av")


@dataclass(frozen=True)
class Problem:
    """A row of tests/cases.json."""

    name: str
    rank: int
    batch: int
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    extra: int
    lengths: list[int]
    kernel: list[int]
    dilation: list[int]
    stride: list[int]
    query_step: list[int]
    causal: list[bool]
    mask_first: bool
    scale: float | None
    rpb: bool
    sizes: list[list[int]] | None
    heads_first: bool = field(default=False, compare=False)

    @property
    def window(self):
        rule = (self.kernel, self.dilation, self.stride, self.query_step, self.causal)
        return Window(*(tuple(part) for part in rule), mask_first=self.mask_first)

    @property
    def outputs(self):
        return [-(-n // s) for n, s in zip(self.lengths, self.query_step, strict=True)]

    def _tensor(self, spatial, heads, last, dtype):
        shape = (self.batch, *spatial, heads, last)
        tensor = torch.randn(shape, dtype=torch.float64).to(dtype)
        return tensor.movedim(-2, 1).contiguous() if self.heads_first else tensor

    def inputs(self, op, dtype):
        """Arguments of ops.attn, ops.qk or ops.av by name, random and requiring gradients."""
        dtype = getattr(torch, dtype)
        slots = prod(self.kernel) + self.extra
        given = {}
        if op == "av":
            given["attn"] = self._tensor(self.outputs, self.heads, slots, dtype)
        else:
            given["query"] = self._tensor(self.lengths, self.heads, self.head_dim, dtype)
            given["key"] = self._tensor(self.lengths, self.kv_heads, self.head_dim, dtype)
            if self.rpb:
                shape = (self.heads, *(2 * k - 1 for k in self.kernel))
                given["rpb"] = torch.randn(shape, dtype=torch.float64).to(dtype)
            if self.extra:
                given["extra_key"] = self._tensor([self.extra], self.kv_heads, self.head_dim, dtype)
        if op != "qk":
            given["value"] = self._tensor(self.lengths, self.kv_heads, self.value_dim, dtype)
            if self.extra:
                given["extra_value"] = self._tensor(
                    [self.extra], self.kv_heads, self.value_dim, dtype
                )
        return {name: t.requires_grad_() for name, t in given.items()}

    def options(self, op):
        """The other arguments."""
        options = {"window": self.window, "heads_first": self.heads_first}
        if self.sizes is not None:
            options["sizes"] = torch.tensor(self.sizes, dtype=torch.int64).reshape(
                self.batch, self.rank
            )
        if op != "av":
            options["scale"] = self.scale
        return options


@cache
def table():
    return json.loads((Path(__file__).parent.parent / "cases.json").read_text())


@cache
def cases():
    return [Problem(**row) for row in table()["cases"]]


def tolerance(op, dtype, direction):
    return table()["tolerances"][op][dtype][direction]


def call(op, inputs, options):
    """The outputs of the operation as a tuple."""
    result = getattr(ops, op)(**inputs, **options)
    return result if isinstance(result, tuple) else (result,)


def run(problem, op, inputs, name, seed=1):
    """Outputs and gradients of an operation on a backend, by name. All outputs get a gradient."""
    backend.set_backend(name)
    outputs = call(op, inputs, problem.options(op))
    generator = torch.Generator().manual_seed(seed)
    grads = [
        torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.device, o.dtype)
        for o in outputs
    ]
    found = torch.autograd.grad(outputs, list(inputs.values()), grads)
    named = {f"output {i}": o.detach() for i, o in enumerate(outputs)}
    return named, {f"d_{n}": g for n, g in zip(inputs, found, strict=True)}


def assert_near(got, want, bound, what):
    """Errors are at most a fraction of the largest value, or of 1; infinities are equal."""
    assert got.shape == want.shape, what
    assert got.dtype == want.dtype, what
    got, want = got.double(), want.double()
    finite = want.isfinite()
    assert torch.equal(got[~finite], want[~finite]), f"{what}: infinities differ"
    if not finite.any():
        return
    error = (got[finite] - want[finite]).abs().max().item()
    limit = bound * max(1.0, want[finite].abs().max().item())
    assert error <= limit, f"{what}: error {error:.3g} exceeds {limit:.3g}"


@st.composite
def drawn(draw, largest=5):
    """A tiny problem with any features."""
    rank = draw(st.integers(1, 3))
    most = {1: largest + 2, 2: largest - 1, 3: 3}[rank]
    axes = [draw(_axis(most)) for _ in range(rank)]
    lengths, kernel, dilation, stride, step, causal = (
        list(part) for part in zip(*axes, strict=True)
    )
    kv_heads, group, batch = (
        draw(st.integers(1, 2)),
        draw(st.integers(1, 2)),
        draw(st.integers(1, 2)),
    )
    ragged = draw(st.booleans())
    sizes = [
        [draw(st.integers(k * d, n)) for k, d, n in zip(kernel, dilation, lengths, strict=True)]
        for _ in range(batch)
    ]
    return Problem(
        name="drawn",
        rank=rank,
        batch=batch,
        heads=kv_heads * group,
        kv_heads=kv_heads,
        head_dim=draw(st.integers(1, 3)),
        value_dim=draw(st.integers(1, 3)),
        extra=draw(st.integers(0, 2)),
        lengths=lengths,
        kernel=kernel,
        dilation=dilation,
        stride=stride,
        query_step=step,
        causal=causal,
        mask_first=draw(st.booleans()),
        scale=draw(st.sampled_from([None, 0.5, -1.5])),
        rpb=draw(st.booleans()),
        sizes=sizes if ragged else None,
        heads_first=draw(st.booleans()),
    )


@st.composite
def _axis(draw, most):
    length = draw(st.integers(1, most))
    kernel = draw(st.integers(1, length))
    dilation = draw(st.integers(1, length // kernel))
    stride = draw(st.integers(1, kernel))
    return length, kernel, dilation, stride, draw(st.integers(1, 3)), draw(st.booleans())
