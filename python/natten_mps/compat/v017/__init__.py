# SPDX-License-Identifier: MIT
"""NATTEN 0.17: per-axis windows, causal axes, split and fused operations."""

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _literal, _served

_release = _served.literal("v017")
_literal.fill("v017", partial(_release.find, "natten"), globals())
_served.fill(_release, "natten", globals())

for _rank in (1, 2, 3):
    _literal.make_callable(importlib.import_module(f"{__name__}.na{_rank}d"), _rank)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
