# SPDX-License-Identifier: MIT
"""NATTEN 0.20: generalized neighborhood attention with strides, and full attention."""

from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _literal, _served

_release = _served.literal("v020")
_literal.fill("v020", partial(_release.find, "natten"), globals())
_served.fill(_release, "natten", globals())

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
