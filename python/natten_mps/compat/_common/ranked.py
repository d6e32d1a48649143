# SPDX-License-Identifier: MIT
"""Functions that differ by the number of axes only: one definition, a name for each rank."""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

RANKS = (1, 2, 3)


def ranked(
    template: str, make: Callable[[int], Callable[..., Any]], ranks: Sequence[int] = RANKS
) -> list[Any]:
    """make(rank) for each rank, named after the template: "na{}d_qk"."""
    made = []
    for rank in ranks:
        function = make(rank)
        function.__name__ = function.__qualname__ = template.format(rank)
        made.append(function)
    return made


def copies(template: str, function: Callable[..., Any]) -> list[Any]:
    """The function once more for each rank: objects and code of their own, no call in between."""
    assert isinstance(function, FunctionType)

    def copy(rank: int) -> Callable[..., Any]:
        code = function.__code__.replace(co_name=template.format(rank))
        made = FunctionType(code, function.__globals__, None, function.__defaults__)
        made.__doc__, made.__module__ = function.__doc__, function.__module__
        made.__annotations__ = function.__annotations__
        return made

    return ranked(template, copy)
