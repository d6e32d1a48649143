# SPDX-License-Identifier: MIT
"""Cached windows for arguments that have already been checked."""

import marshal
from collections.abc import Callable
from typing import Any

import torch

from natten_mps.ops import Window


class Windows:
    """Caches `make(*arguments)` for arguments of builtin types."""

    most = 1024

    def __init__(self, make: Callable[..., Window]) -> None:
        self._make = make
        # Bytes distinguish True from 1 and a list from a tuple, which compare as equal.
        self._known: dict[bytes, Window] = {}

    def __call__(self, *arguments: Any) -> Window:
        if torch.compiler.is_compiling():
            return self._make(*arguments)
        try:
            key = marshal.dumps(arguments)
        except ValueError:
            return self._make(*arguments)
        found = self._known.get(key)
        if found is None:
            found = self._make(*arguments)
            if len(self._known) >= self.most:
                self._known.clear()
            self._known[key] = found
        return found
