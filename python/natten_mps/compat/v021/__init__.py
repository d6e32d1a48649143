# SPDX-License-Identifier: MIT
"""NATTEN 0.21: 0.20 with grouped queries, log-sum-exp, and causal and packed full attention."""

from typing import TYPE_CHECKING, Any

from .. import _served

_served.fill(_served.literal("v021"), "natten", globals())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
