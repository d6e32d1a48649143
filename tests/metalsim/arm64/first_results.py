# SPDX-License-Identifier: MIT
"""The package's first results on a processor: every backend against `pure`, forward and backward,
through functional, autograd and compat."""

import platform

import torch

import natten_mps
from natten_mps import backend

SHAPES = {1: (2, 11, 2, 8), 2: (1, 7, 9, 2, 16), 3: (1, 4, 5, 6, 1, 8)}
FUNCTIONS = {1: natten_mps.na1d, 2: natten_mps.na2d, 3: natten_mps.na3d}


def results(name: str, rank: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """The output and the gradients of a small problem."""
    torch.manual_seed(rank)
    leaves = [torch.rand(SHAPES[rank]).to(dtype).requires_grad_() for _ in range(3)]
    with backend.use_backend(name):
        out = FUNCTIONS[rank](*leaves, 3)
        return [out, *torch.autograd.grad(out.float().square().sum(), leaves)]


def main() -> None:
    """Compare and say what was compared."""
    compared = 0
    for rank in SHAPES:
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            wanted = results("pure", rank, dtype)
            for name in ("native", "metal"):
                tolerance = 1e-4 if dtype == torch.float32 else 5e-2
                for a, b in zip(results(name, rank, dtype), wanted, strict=True):
                    torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)
                    compared += 1
    print(f"{platform.machine()}, PyTorch {torch.__version__}: {compared} tensors as pure's")


if __name__ == "__main__":
    main()
