# SPDX-License-Identifier: MIT
"""What each backend can do on this machine."""

from typing import Any

from . import backend

_OPS = ("na1d", "na2d", "na3d", "split_qk_av")
_CONSTRAINTS = {
    "pure": [],
    "metal": [
        "Tensors on an MPS device.",
        "float32, float16 and bfloat16, computed natively; sums in float32.",
    ],
    "native": [
        "Tensors in host memory.",
        "float32, float16, bfloat16 and float64; sums in float32, or float64 for float64.",
    ],
}


def get_support_matrix() -> dict[str, dict[str, Any]]:
    """For each backend: `available`, `details` (what it found, or why it cannot run), the
    operations of `forward`, `backward`, `varlen` and `fusion` it has, and `constraints`."""
    return {name: _row(name) for name in ("pure", "metal", "native")}


def _row(name: str) -> dict[str, Any]:
    return {
        "available": backend.available(name),
        "details": backend.details(name),
        "forward": dict.fromkeys(_OPS, True),
        "backward": dict.fromkeys(_OPS, True),
        "varlen": dict.fromkeys(_OPS[:3], True),
        "fusion": dict.fromkeys(_OPS[:3], name != "pure"),
        "constraints": list(_CONSTRAINTS[name]),
    }
