# SPDX-License-Identifier: MIT
"""Functions that differ only in the number of axes: one definition, one name per rank."""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

RANKS = (1, 2, 3)


def ranked(
    template: str, make: Callable[[int], Callable[..., Any]], ranks: Sequence[int] = RANKS
) -> list[Any]:
    """Returns make(rank) for each rank, named by the template, such as "na{}d_qk"."""
    made = []
    for rank in ranks:
        function = make(rank)
        function.__name__ = function.__qualname__ = template.format(rank)
        made.append(function)
    return made


def copies(template: str, function: Callable[..., Any]) -> list[Any]:
    """Copies the function for each rank, code object included, without a wrapper call."""
    assert isinstance(function, FunctionType)

    def copy(rank: int) -> Callable[..., Any]:
        code = function.__code__.replace(co_name=template.format(rank))
        made = FunctionType(code, function.__globals__, None, function.__defaults__)
        made.__doc__, made.__module__ = function.__doc__, function.__module__
        made.__annotations__ = function.__annotations__
        return made

    return ranked(template, copy)
