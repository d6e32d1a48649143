# SPDX-License-Identifier: MIT
"""The problems that are timed."""

import json
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import Any

# A forward pass is two products; a backward pass is five of the same size: the scores again, dV,
# dP, dQ and dK. Published flash-attention figures count the same way.
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
        """Useful floating-point operations, including masked slots of causal windows."""
        tokens = self.batch * prod(self.size)
        return 4.0 * tokens * self.heads * self.kernel_size ** len(self.size) * self.dim

    @property
    def forward_bytes(self) -> float:
        """Bytes that a forward pass cannot avoid: Q, K, V read once, O written once."""
        tokens = self.batch * prod(self.size) * self.dim
        width = {"float32": 4, "float16": 2, "bfloat16": 2}[self.dtype]
        return float(width * tokens * 2 * (self.heads + (self.kv_heads or self.heads)))

    def bytes(self, backward: bool) -> float:
        """As forward_bytes; a backward pass reads Q, K, V, O, dO and writes dQ, dK, dV."""
        return self.forward_bytes * (3 if backward else 1)

    def request(self, backward: bool, calls: int) -> dict[str, Any]:
        """Give what a worker needs, as JSON."""
        return {"case": asdict(self), "backward": backward, "calls": calls}


def _row(problem: dict[str, Any]) -> Case:
    """Return a row of the predecessor's README table, as tests/cases.json has it."""
    return Case(
        problem["name"],
        problem["batch"],
        tuple(problem["lengths"]),
        problem["heads"],
        problem["head_dim"],
        problem["kernel"][0],
        {"is_causal": True} if all(problem["causal"]) else {},
    )


_TABLE = Path(__file__).resolve().parents[1] / "cases.json"
ROWS = [_row(problem) for problem in json.loads(_TABLE.read_text())["bench"]]

SWEEP = [
    *(Case(f"2d-32x32-k{k}", 2, (32, 32), 4, 64, k) for k in (3, 5, 9, 11, 13)),
    *(Case(f"2d-32x32-k7-d{d}", 2, (32, 32), 4, d, 7) for d in (12, 32, 128)),
    Case("2d-32x32-k7-dilation2", 2, (32, 32), 4, 64, 7, {"dilation": 2}),
    Case("2d-32x32-k7-gqa-8-1", 2, (32, 32), 8, 64, 7, kv_heads=1),
    Case("2d-32x32-k7-mha-8-8", 2, (32, 32), 8, 64, 7),
    Case("2d-32x32-k7-float16", 2, (32, 32), 4, 64, 7, dtype="float16"),
    Case("2d-32x32-k7-bfloat16", 2, (32, 32), 4, 64, 7, dtype="bfloat16"),
    Case("2d-32x32-k7-b1-h1", 1, (32, 32), 1, 64, 7),
    Case("2d-128x128-k13", 1, (128, 128), 2, 64, 13),
    Case("3d-16x16x16-k7", 1, (16, 16, 16), 2, 32, 7),
    Case("1d-l1024-k7-float16", 4, (1024,), 8, 64, 7, dtype="float16"),
    Case("1d-l1024-k7-bfloat16", 4, (1024,), 8, 64, 7, dtype="bfloat16"),
    Case("1d-l65536-k13", 1, (65536,), 1, 64, 13),
]

# A problem with almost nothing to compute, for the overhead of a call.
CALL = Case("call-1d-l16-k7-d8", 1, (16,), 1, 8, 7)
