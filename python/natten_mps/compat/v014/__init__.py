# SPDX-License-Identifier: MIT
"""NATTEN 0.14: ``natten{1,2}d{qk,qkrpb,av}`` and modules with relative position bias."""

from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _literal, _served

_release = _served.literal("v014")
_literal.fill("v014", partial(_release.find, "natten"), globals())
_served.fill(_release, "natten", globals())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
