# SPDX-License-Identifier: MIT
"""The three operations: names and order of their tensors, and the functions that compute them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from . import _abi, pure


class Operation(NamedTuple):
    """One of the three operations; tensors have the names used in the header."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    forward: int
    backward: int
    keeps_outputs: bool  # whether backward reads the outputs
    pure: Callable[..., Any]


ATTN = Operation(
    "attn",
    ("query", "key", "value", "rpb", "extra_key", "extra_value"),
    ("out", "lse"),
    _abi.ATTN_FORWARD,
    _abi.ATTN_BACKWARD,
    True,
    pure.attn,
)
QK = Operation(
    "qk",
    ("query", "key", "rpb", "extra_key"),
    ("attn",),
    _abi.QK_FORWARD,
    _abi.QK_BACKWARD,
    False,
    pure.qk,
)
AV = Operation(
    "av",
    ("attn", "value", "extra_value"),
    ("out",),
    _abi.AV_FORWARD,
    _abi.AV_BACKWARD,
    False,
    pure.av,
)

#: Operations by name.
OPERATIONS = {op.name: op for op in (ATTN, QK, AV)}
