# SPDX-License-Identifier: MIT
"""NATTEN 0.20: generalized neighborhood attention with strides, and full attention."""

from typing import TYPE_CHECKING, Any

from .. import _served

_served.fill(_served.literal("v020"), "natten", globals())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
