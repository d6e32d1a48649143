# SPDX-License-Identifier: MIT
"""The problems that are timed."""

from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

# A backward pass does the work of five products of the forward's size against two: scores again,
# dV, dP, dQ and dK. Published flash-attention figures count the same way.
BACKWARD_FACTOR = 2.5


@dataclass(frozen=True)
class Case:
    """One call of na1d, na2d or na3d: tensors [batch, *size, heads, dim]."""

    name: str
    batch: int
    size: tuple[int, ...]
    heads: int
    dim: int
    kernel_size: int
    options: dict[str, Any] = field(default_factory=dict)
    kv_heads: int = 0
    dtype: str = "float32"

    @property
    def forward_flops(self) -> float:
        """Useful floating-point operations, masked slots of causal windows included."""
        tokens = self.batch * prod(self.size)
        return 4.0 * tokens * self.heads * self.kernel_size ** len(self.size) * self.dim

    @property
    def forward_bytes(self) -> float:
        """Bytes that a forward pass cannot avoid: Q, K, V read once, O written once."""
        tokens = self.batch * prod(self.size) * self.dim
        width = {"float32": 4, "float16": 2, "bfloat16": 2}[self.dtype]
        return float(width * tokens * 2 * (self.heads + (self.kv_heads or self.heads)))

    def request(self, backward: bool, calls: int) -> dict[str, Any]:
        """Give what a worker needs, as JSON."""
        return {"case": asdict(self), "backward": backward, "calls": calls}


# The rows of the predecessor's README table.
ROWS = [
    Case("1D L=256 K=7", 4, (256,), 8, 64, 7),
    Case("1D L=1024 K=7", 4, (1024,), 8, 64, 7),
    Case("2D 32x32 K=7", 2, (32, 32), 4, 64, 7),
    Case("2D 64x64 K=7", 2, (64, 64), 4, 64, 7),
    Case("2D 32x32 K=7 causal", 2, (32, 32), 4, 64, 7, {"is_causal": True}),
    Case("3D 16x16x16 K=3", 1, (16, 16, 16), 2, 32, 3),
]

SWEEP = [
    *(Case(f"2D 32x32 K={k}", 2, (32, 32), 4, 64, k) for k in (3, 5, 9, 11, 13)),
    *(Case(f"2D 32x32 K=7 D={d}", 2, (32, 32), 4, d, 7) for d in (12, 32, 128)),
    Case("2D 32x32 K=7 dilation 2", 2, (32, 32), 4, 64, 7, {"dilation": 2}),
    Case("2D 32x32 K=7 GQA 8:1", 2, (32, 32), 8, 64, 7, kv_heads=1),
    Case("2D 32x32 K=7 MHA 8:8", 2, (32, 32), 8, 64, 7),
    Case("2D 32x32 K=7 float16", 2, (32, 32), 4, 64, 7, dtype="float16"),
    Case("2D 32x32 K=7 bfloat16", 2, (32, 32), 4, 64, 7, dtype="bfloat16"),
    Case("2D 32x32 K=7 batch 1 head 1", 1, (32, 32), 1, 64, 7),
    Case("2D 128x128 K=13", 1, (128, 128), 2, 64, 13),
    Case("3D 16x16x16 K=7", 1, (16, 16, 16), 2, 32, 7),
    Case("1D L=65536 K=13", 1, (65536,), 1, 64, 13),
]

# A problem without work: what a call costs.
CALL = Case("1D L=16 K=7, D=8", 1, (16,), 1, 8, 7)
