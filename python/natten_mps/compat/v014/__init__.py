# SPDX-License-Identifier: MIT
"""NATTEN 0.14: ``natten{1,2}d{qk,qkrpb,av}`` and modules with relative position bias."""

from typing import TYPE_CHECKING, Any

from .. import _served

_served.fill(_served.literal("v014"), "natten", globals())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
