# SPDX-License-Identifier: MIT
"""The split operations of 0.15 and 0.17: nested tensors, checks, casts, and the operation."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from torch import Tensor

from natten_mps import ops
from natten_mps._layout import Misfit

from . import nested, split
from .dialect import EXTENSION
from .tokens import check_additional_keys, check_additional_values


class Call(NamedTuple):
    """The parts of a call that differ: the named autograd function and its arguments after the
    tensors, the window they describe, and the generation's check of kernel sizes."""

    function: Any
    arguments: tuple[Any, ...]
    window: ops.Window
    check_kernel: Callable[[Sequence[int]], None]


def qk(call: Call, query: Tensor, key: Tensor, bias: Tensor | None, extra: Tensor | None) -> Tensor:
    """Logits [B, H, axes..., W + T]."""
    if query.is_nested or key.is_nested or (extra is not None and extra.is_nested):
        if bias is not None and bias.is_nested:
            raise ValueError("Positional biases cannot be nested.")
        rank = len(call.window.kernel)
        return nested.map_samples(
            lambda q, k, e: qk(call, q, k, bias, e), rank, (query, key, extra)
        )
    if extra is not None:
        check_additional_keys(query, extra)
    call.check_kernel(call.window.kernel)
    split.check_heads(query, key, 1)
    if bias is not None:
        bias = bias.to(key.dtype)
    try:
        if split.traced():
            logits: Tensor = call.function.apply(query, key, bias, extra, *call.arguments)
            return logits
        return split.qk(query, key, bias, extra, call.window)
    except Misfit as misfit:
        raise EXTENSION.error(misfit) from None


def av(call: Call, attn: Tensor, value: Tensor, extra: Tensor | None) -> Tensor:
    """Outputs [B, H, axes..., D]."""
    if attn.is_nested or value.is_nested or (extra is not None and extra.is_nested):
        rank = len(call.window.kernel)
        return nested.map_samples(lambda a, v, e: av(call, a, v, e), rank, (attn, value, extra))
    attn = attn.to(value.dtype)
    if extra is not None:
        check_additional_values(attn, extra, value, prod(call.window.kernel))
    call.check_kernel(call.window.kernel)
    split.check_heads(attn, value, 1)
    try:
        if split.traced():
            out: Tensor = call.function.apply(attn, value, extra, *call.arguments)
            return out
        return split.av(attn, value, extra, call.window)
    except Misfit as misfit:
        raise EXTENSION.error(misfit) from None
