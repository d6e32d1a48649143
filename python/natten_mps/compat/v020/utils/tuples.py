# SPDX-License-Identifier: MIT
"""Arithmetic on tuples."""

from ..._common import types as _types

create_dim_from_int = _types.create_dim_from_int
create_causal_arg_from_bool = _types.create_causal_arg_from_bool


def ceil_div_int(x: int, y: int) -> int:
    """x / y rounded up."""
    return -(-x // y)


def ceil_div_tuple(X: tuple[int, ...], Y: tuple[int, ...]) -> tuple[int, ...]:
    """Elementwise X / Y rounded up."""
    return tuple(ceil_div_int(x, y) for x, y in zip(X, Y, strict=True))
