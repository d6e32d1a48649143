# SPDX-License-Identifier: MIT
"""The items of a report. Each returns its findings or raises an error."""

import argparse
import getpass
import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _operation, _plan, _prepared, backend, bench, doctor, ops
from .._mps import selftest, tiers
from .._mps.device import carrier
from ..utils.window import Window
from ..version import __version__
from .kernels import kernels

#: Number of random problems per tier, with seeds 0, 1, ...
SEEDS = 24


class Item(NamedTuple):
    """One test."""

    name: str  # SECTION/NAME
    run: Callable[[], dict[str, Any]]
    first: bool = False  # included in every report, however little time there is


def identity() -> list[str]:
    """Properties that must not change between parts of a report."""
    return [__version__, torch.__version__, platform.platform(), carrier().identity()]


def items() -> list[Item]:
    """All items, the most informative first, alternating between tiers."""
    found = [Item("facts/machine", _machine, True), Item("facts/doctor", _doctor, True)]
    found += [Item(f"tier {tier}/choice", partial(_choose, tier), True) for tier in tiers.STREAMS]
    found += [Item(f"tier {tier}/order", partial(_order, tier), True) for tier in tiers.STREAMS]
    found += [Item(f"speed/{row.name}", partial(_speed, row)) for row in _rows()]
    problems = [
        Item(f"tier {tier}/seed {seed}", partial(_problem, tier, seed))
        for seed in range(SEEDS)
        for tier in tiers.STREAMS
    ]
    compiled = [Item(f"kernels/{name}", run) for name, run in kernels()]
    return found + list(_in_turn(problems, compiled))


def _in_turn(*lists: list[Item]) -> Iterator[Item]:
    for i in range(max(map(len, lists))):
        yield from (items[i] for items in lists if i < len(items))


def _machine() -> dict[str, Any]:
    """Facts about the system, without names of people, machines or folders."""
    facts = {"system": platform.platform(), "python": platform.python_version()}
    facts["torch"] = torch.__version__
    if sys.platform == "darwin":
        for name in ("machdep.cpu.brand_string", "hw.memsize", "hw.model", "kern.osversion"):
            command = ["/usr/sbin/sysctl", "-n", name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            facts[name] = done.stdout.strip()
    return facts


def _doctor() -> dict[str, Any]:
    found = doctor.report()
    text = json.dumps(found)
    for private in sorted(_private_facts(), key=len, reverse=True):
        if len(private) > 3:
            text = text.replace(private, "~")
    if found["problems"]:
        raise RuntimeError("; ".join(found["problems"]))
    return {"found": json.loads(text)}


def _private_facts() -> Iterator[str]:
    """Names of the home folder, the user and the machine, as far as there are any."""
    for fact in (Path.home, getpass.getuser, platform.node):
        try:
            yield str(fact())
        except (RuntimeError, KeyError, OSError):
            continue


def _choose(tier: str) -> dict[str, Any]:
    """Select a tier; raises RuntimeError with the reason if that is not possible."""
    os.environ[tiers.OVERRIDE] = tier
    tiers.trusted = True
    tiers.forget()
    _prepared._prepared.clear()
    choice = tiers.choice()
    if choice.stream is None:
        raise RuntimeError(choice.why_not())
    return {}


class _On:
    """Select a backend and, for the GPU backend, a tier."""

    def __init__(self, name: str, tier: str | None = None) -> None:
        self._name, self._tier = name, tier

    def __enter__(self) -> None:
        if self._tier is not None and os.environ.get(tiers.OVERRIDE) != self._tier:
            _choose(self._tier)
        self._before, backend.choice = backend.choice, self._name

    def __exit__(self, *_: object) -> None:
        backend.choice = self._before


def _order(tier: str) -> dict[str, Any]:
    """Run the self-test, which interleaves torch's work with ours."""
    with _On("metal", tier):
        selftest.compare(carrier().device)
        for i in range(selftest.ROUNDS):
            selftest.interleave(carrier().device, i)
    return {}


class Drawn(NamedTuple):
    """A random problem."""

    name: str
    call: Callable[..., Any]
    tensors: dict[str, Tensor]
    options: dict[str, Any]


def draw(seed: int) -> Drawn:
    """The problem for a seed; the same on every machine."""
    r = random.Random(seed)
    rank = 1 + seed % 3
    dtype = (torch.float32, torch.float16, torch.bfloat16)[seed // 3 % 3]
    op = (_operation.ATTN, _operation.ATTN, _operation.QK, _operation.AV)[seed % 4]
    kernel = tuple(r.choice((2, 3, 3, 5) if rank < 3 else (2, 3)) for _ in range(rank))
    dilation = tuple(r.choice((1, 1, 2)) for _ in range(rank))
    lengths = tuple(k * d + r.randrange(5) for k, d in zip(kernel, dilation, strict=True))
    window = Window(
        kernel,
        dilation,
        tuple(r.randint(1, k) if r.random() < 0.3 else 1 for k in kernel),
        (1,) * rank,
        tuple(r.random() < 0.3 for _ in range(rank)),
    )
    kv_heads, group, extra = r.choice((1, 2)), r.choice((1, 1, 2)), r.choice((0, 0, 3))
    dim, batch = r.choice((5, 8, 20, 32, 64)), r.choice((1, 2))
    slots = extra
    count = 1
    for k in kernel:
        count *= k
    slots += count
    shapes = {
        "query": (batch, *lengths, kv_heads * group, dim),
        "key": (batch, *lengths, kv_heads, dim),
        "value": (batch, *lengths, kv_heads, dim),
        "attn": (batch, *lengths, kv_heads * group, slots),
        "rpb": (kv_heads * group, *(2 * k - 1 for k in kernel)),
        "extra_key": (batch, extra, kv_heads, dim),
        "extra_value": (batch, extra, kv_heads, dim),
    }
    left_out = {"rpb"} if r.random() < 0.6 else set()
    if not extra:
        left_out |= {"extra_key", "extra_value"}
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(shapes[name], generator=generator).to(dtype)
        for name in op.inputs
        if name not in left_out
    }
    name = f"{op.name} {'x'.join(map(str, lengths))} K {kernel} D {dim} {dtype}"
    return Drawn(name, getattr(ops, op.name), tensors, {"window": window})


def _results(drawn: Drawn, device: str) -> list[Tensor]:
    leaves = {n: t.to(device).detach().requires_grad_() for n, t in drawn.tensors.items()}
    result = drawn.call(**leaves, **drawn.options)
    outputs = result if isinstance(result, tuple) else (result,)
    total = sum(o.float().nan_to_num(neginf=0.0).square().sum() for o in outputs)
    grads = torch.autograd.grad(total, list(leaves.values()))
    return [t.detach().cpu().double() for t in (*outputs, *grads)]


def _problem(tier: str, seed: int) -> dict[str, Any]:
    """Compare a problem and its gradients with the reference; ArithmeticError if they differ."""
    drawn = draw(seed)
    with _On("metal", tier):
        found = _results(drawn, carrier().device)
    with _On("reference"):
        want = _results(drawn, "cpu")
    worst = 0.0
    for f, w in zip(found, want, strict=True):
        if w.numel():
            w, f = w.nan_to_num(neginf=-1e4), f.nan_to_num(nan=torch.inf, neginf=-1e4)
            worst = max(worst, ((f - w).abs().max() / w.abs().max().clamp(min=1)).item())
    allowed = _plan.ALLOWED[next(iter(drawn.tensors.values())).dtype]
    if not worst <= allowed:
        raise ArithmeticError(f"{drawn.name}: differs by {worst:.2g} (want at most {allowed:.2g})")
    return {"problem": drawn.name, "error": worst}


def _rows() -> list[bench.Row]:
    """Rows of the benchmark; a small one on a simulated GPU, whose times mean nothing."""
    if carrier().device == "mps":
        return list(bench.ROWS[: bench.QUICK])
    return [bench.Row("simulated 2D 8x8 K=3", (1, 8, 8, 1, 16), 3)]


def _speed(row: bench.Row) -> dict[str, Any]:
    """Times in ms of the GPU backend in the best tier, and of `pure`."""
    with _On("auto", next(iter(_usable()), "3")):
        options = argparse.Namespace(
            dtype="float32", device=carrier().device, backward=True, warmup=2, repeats=5
        )
        return {"ms": {name: bench.time_row(row, name, options) for name in ("metal", "pure")}}


def _usable() -> Iterator[str]:
    for tier in tiers.STREAMS:
        try:
            _choose(tier)
        except RuntimeError:
            continue
        yield tier
