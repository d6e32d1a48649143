# SPDX-License-Identifier: MIT
"""NATTEN 0.17: per-axis windows, causal axes, split and fused operations."""

from typing import TYPE_CHECKING, Any

from .. import _served

_served.fill(_served.literal("v017"), "natten", globals())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
