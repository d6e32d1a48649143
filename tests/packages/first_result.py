# SPDX-License-Identifier: MIT
"""Uses the installed package: the library's results against those of PyTorch's operations."""

import pathlib
import sys

import torch

import natten_mps

assert pathlib.Path(natten_mps.__file__).is_relative_to(sys.prefix), natten_mps.__file__
natten_mps.set_backend("native")
q, k, v = (torch.randn(1, 12, 12, 2, 16, requires_grad=True) for _ in range(3))
native = torch.autograd.grad(natten_mps.na2d(q, k, v, 5).square().sum(), (q, k, v))
natten_mps.set_backend("pure")
pure = torch.autograd.grad(natten_mps.na2d(q, k, v, 5).square().sum(), (q, k, v))
for got, want in zip(native, pure, strict=True):
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
print("natten_mps", natten_mps.__version__, "from", natten_mps.__file__)
