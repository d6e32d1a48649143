# SPDX-License-Identifier: MIT
"""NATTEN 0.15: split operations in one to three dimensions, with additional tokens."""

from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _literal, _served

_release = _served.literal("v015")
_literal.fill("v015", partial(_release.find, "natten"), globals())
_served.fill(_release, "natten", globals())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
