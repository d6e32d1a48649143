# SPDX-License-Identifier: MIT
"""`python -m natten_mps._mps.selftest`: run the tier in NATTEN_MPS_TIER between torch operations,
as a program would, and compare the results with the CPU. The last line of standard output is
verdict.PASSED and the exit status 0, or the status is verdict.WRONG_STATUS for wrong numbers, which
the last line of standard error then describes."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import ops, pure
from ..utils.window import Window
from . import tiers, verdict
from .device import carrier

ROUNDS = 50
#: Allowed absolute error of out in float32, for values of at most 1; 2e-7 was measured.
TOLERANCE = 1e-5


def main() -> int:
    """Run all checks."""
    tiers.trusted = True
    device = carrier().device
    try:
        compare(device)
        for i in range(ROUNDS):
            interleave(device, i)
    except (ArithmeticError, NotImplementedError) as error:
        if isinstance(error, NotImplementedError) and verdict.WRONG not in str(error):
            raise
        print(error, file=sys.stderr)
        return verdict.WRONG_STATUS
    print(verdict.PASSED)
    return 0


def compare(device: str) -> None:
    """Compare attention and its gradients with `pure`; ArithmeticError if they differ."""
    torch.manual_seed(0)
    for dtype, tolerance in ((torch.float32, TOLERANCE), (torch.float16, 5e-3)):
        _compare_gradients(device, dtype, tolerance)


def _window(rank: int) -> Window:
    return Window((3,) * rank, (1,) * rank, (1,) * rank, (1,) * rank, (False,) * rank)


def _compare_gradients(device: str, dtype: torch.dtype, tolerance: float) -> None:
    for rank in (1, 2, 3):
        shape = (1, *(4, 5, 6)[:rank], 2, 8)
        inputs = [torch.rand(shape).to(dtype) for _ in range(4)]
        expected = _gradients([t.float() for t in inputs], pure.attn, rank)
        found = _gradients([t.to(device) for t in inputs], ops.attn, rank)
        for part, want, got in zip(("out", "dq", "dk", "dv"), expected, found, strict=True):
            _check(got, want, tolerance, f"{part} of rank {rank} in {dtype}")


def _gradients(inputs: list[Tensor], attn: Callable[..., Any], rank: int) -> list[Tensor]:
    *rest, d_out = inputs
    leaves = [t.detach().requires_grad_() for t in rest]
    out, _ = attn(*leaves, window=_window(rank))
    return [out, *torch.autograd.grad(out, leaves, d_out)]


def interleave(device: str, i: int) -> None:
    """One round: torch writes our inputs, reads our outputs, and reuses memory that we read."""
    shape, n = (1, 16, 2, 8), 256
    whole = torch.arange(3 + 3 * n, dtype=torch.float32).mul_(0.01).add_(i).sin_()
    expected = _sandwich(whole, 3, n, shape, pure.attn)
    found = _sandwich(whole.to(device), 3, n, shape, ops.attn)
    _check(found, expected, TOLERANCE, f"round {i} of interleaved work")


def _sandwich(
    whole: Tensor, start: int, n: int, shape: tuple[int, ...], attn: Callable[..., Any]
) -> Tensor:
    whole = whole * 2  # leaves one of torch's encoders open
    q, k, v = (whole[start + j * n : start + (j + 1) * n].view(shape) for j in range(3))
    out, _ = attn(q, k, v, window=_window(1))
    q.copy_(out)
    v.mul_(0.5)
    again, lse = attn(q, k, v, window=_window(1))
    del q, k, v, whole
    torch.full((3 + 3 * n,), torch.nan, device=out.device)
    result: Tensor = again + lse[..., None]
    return result


def _check(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    error = (found.detach().cpu().float() - expected.detach().float()).abs().max().item()
    if not error <= tolerance:
        raise ArithmeticError(f"{what} differs by {error:.2g} (want at most {tolerance:.0e})")


if __name__ == "__main__":
    sys.exit(main())
