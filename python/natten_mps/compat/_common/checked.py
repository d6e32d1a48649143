# SPDX-License-Identifier: MIT
"""The split operations of 0.15 and 0.17: nested tensors, checks, casts, then the operation."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

from torch import Tensor

from natten_mps import ops

from . import checks, nested, split
from .tokens import check_additional_keys, check_additional_values


class Call(NamedTuple):
    """Where a call goes: the named autograd function and its arguments after the tensors, the
    window they mean, and the generation's check of kernel sizes."""

    function: Any
    arguments: tuple[Any, ...]
    window: ops.Window
    check_kernel: Callable[[Sequence[int]], None]

    @property
    def rank(self) -> int:
        return len(self.window.kernel)

    def check(self, lengths: Sequence[int]) -> None:
        self.check_kernel(self.window.kernel)
        checks.check_axes(lengths, self.window.kernel, self.window.dilation)


def qk(call: Call, query: Tensor, key: Tensor, bias: Tensor | None, extra: Tensor | None) -> Tensor:
    """Logits [B, H, axes..., W + T]."""
    if nested.is_nested(query, key, extra):
        if bias is not None and bias.is_nested:
            raise ValueError("Positional biases cannot be nested.")
        return nested.map_samples(
            lambda q, k, e: qk(call, q, k, bias, e), call.rank, (query, key, extra)
        )
    window, rank = call.window, call.rank
    checks.check_tensors(rank, query, key)
    checks.check_head_dims(query, key)
    check_additional_keys(query, extra)
    call.check(query.shape[2:-1])
    if bias is not None:
        checks.check_bias(bias, query.shape[1], window.kernel, query.device)
        bias = bias.to(key.dtype)
    if split.traced():
        logits: Tensor = call.function.apply(query, key, bias, extra, *call.arguments)
        return logits
    return split.qk(query, key, bias, extra, window)


def av(call: Call, attn: Tensor, value: Tensor, extra: Tensor | None) -> Tensor:
    """Outputs [B, H, axes..., D]."""
    if nested.is_nested(attn, value, extra):
        return nested.map_samples(
            lambda a, v, e: av(call, a, v, e), call.rank, (attn, value, extra)
        )
    window = call.window
    attn = attn.to(value.dtype)
    checks.check_tensors(call.rank, attn, value)
    expected = prod(window.kernel)
    if extra is None:
        checks.check_attention_dim(attn, expected)
    else:
        check_additional_values(attn, extra, value, expected)
    call.check(value.shape[2:-1])
    if split.traced():
        out: Tensor = call.function.apply(attn, value, extra, *call.arguments)
        return out
    return split.av(attn, value, extra, window)
