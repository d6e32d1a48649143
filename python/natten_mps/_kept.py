# SPDX-License-Identifier: MIT
"""An LRU cache bounded by the total size of its values in bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from . import _lib

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Cached values of at most `capacity` bytes in total; the least recently used is dropped first.

    A value larger than `capacity` is not cached and is made again on every call.
    """

    def __init__(self, capacity: int, size: Callable[[Value], int]) -> None:
        self.capacity = capacity
        self.bytes = 0
        self._size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = _lib.fork_safe_lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value for a key, making and caching it if needed."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        made = make()
        size = self._size(made)
        with self._lock:
            if size <= self.capacity and key not in self._values:
                self._values[key] = made
                self.bytes += size
            while self.bytes > self.capacity:
                self.bytes -= self._size(self._values.popitem(last=False)[1])
        return made
