# SPDX-License-Identifier: MIT
"""NATTEN 0.15: split operations in one to three dimensions, with additional tokens."""

from typing import TYPE_CHECKING, Any

from .. import _served

_served.fill(_served.literal("v015"), "natten", globals())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
