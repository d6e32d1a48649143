# SPDX-License-Identifier: MIT
"""Turns the arguments of the public functions into a window and tensors for the operations, and
errors of the operations into errors of the public functions."""

from typing import Any

import torch
from torch import Tensor

from . import _carriers, _operation, _plain, checks
from ._layout import Misfit, layout
from ._types import Offsets, Result, Rules, Scale
from .ops import call
from .utils.params import make_window, normalize_offset
from .utils.window import Ranges, Window

#: query_offset, key_offset and full_size, as passed by the caller.
Parts = tuple[Offsets, Offsets, Offsets]
_WHOLE = (None, None, None)


def with_ranges(window: Window, keys: Any, parts: Parts) -> Window:
    """The window, for tensors that hold part of every axis; `keys` are keys or values."""
    rank = len(window.kernel)
    query, key = (
        normalize_offset(0 if part is None else part, rank, name)
        for part, name in zip(parts[:2], ("query_offset", "key_offset"), strict=True)
    )
    if parts[2] is not None:
        full = normalize_offset(parts[2], rank, "full_size")
    else:
        lengths = tuple(keys.shape[1:-2]) if isinstance(keys, Tensor) else ()
        if len(lengths) != rank:  # which the operation refuses
            return window
        full = tuple(k + n for k, n in zip(key, lengths, strict=True))
    kernel, dilation, stride, step, causal, first, _ = window
    return Window(kernel, dilation, stride, step, causal, first, Ranges(query, key, full))


def fused(
    name: str,
    window: Window,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: Scale,
    return_lse: bool,
    keys: Tensor | None = None,
    values: Tensor | None = None,
    rpb: Tensor | None = None,
    sizes: Tensor | None = None,
    parts: Parts = _WHOLE,
) -> Result:
    """Fused attention for the public function `name`; keys and values are the additional ones."""
    inputs = (query, key, value, rpb, keys, values)
    if not parts[0] is parts[1] is parts[2] is None:
        window = with_ranges(window, key, parts)
    try:
        return call(_operation.ATTN, inputs, window, scale, sizes, False, first_only=not return_lse)
    except Misfit as misfit:
        raise checks.in_own_words(misfit, name) from None


def qk(
    name: str,
    window: Window,
    query: Tensor,
    key: Tensor,
    scale: Scale,
    rpb: Tensor | None = None,
    keys: Tensor | None = None,
    sizes: Tensor | None = None,
    parts: Parts = _WHOLE,
) -> Tensor:
    """Logits for the public function `name`."""
    if not parts[0] is parts[1] is parts[2] is None:
        window = with_ranges(window, key, parts)
    try:
        found: Tensor = call(_operation.QK, (query, key, rpb, keys), window, scale, sizes, False)
    except Misfit as misfit:
        raise checks.in_own_words(misfit, name) from None
    return found


def av(
    name: str,
    window: Window,
    attn: Tensor,
    value: Tensor,
    values: Tensor | None = None,
    sizes: Tensor | None = None,
    parts: Parts = _WHOLE,
) -> Tensor:
    """Weighted values for the public function `name`."""
    if not parts[0] is parts[1] is parts[2] is None:
        window = with_ranges(window, value, parts)
    try:
        found: Tensor = call(_operation.AV, (attn, value, values), window, None, sizes, False)
    except Misfit as misfit:
        raise checks.in_own_words(misfit, name) from None
    return found


def varlen(
    rank: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sizes: Tensor,
    rules: Rules,
    scale: Scale,
    return_lse: bool,
    keys: Tensor | None = None,
    values: Tensor | None = None,
) -> Result:
    """Fused attention of a padded batch."""
    name = f"na{rank}d_varlen"
    window = make_window(rank, *rules)
    try:
        sizes = checks.sizes(name, sizes, query, window)
    except ValueError:
        _tell_shapes_first(name, window, query=query, key=key, value=value)
        raise
    return fused(name, window, query, key, value, scale, return_lse, keys, values, sizes=sizes)


def _tell_shapes_first(name: str, window: Window, **tensors: Tensor) -> None:
    try:
        layout(_operation.ATTN, {n: t.shape for n, t in tensors.items()}, window, False)
    except Misfit as misfit:
        raise checks.in_own_words(misfit, name) from None


def packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lens: Tensor,
    rules: Rules,
    scale: Scale,
    return_lse: bool,
) -> Result:
    """Fused attention of concatenated sequences, as a padded batch of them."""
    given = {"query": query, "key": key, "value": value, "cumulative_lens": cumulative_lens}
    checks.tensors("na1d_packed", **given)
    for name, tensor in given.items():
        _readable(name, tensor)
    try:
        begins, lens = checks.packed(query.shape, key.shape, value.shape, cumulative_lens)
    except RuntimeError as error:  # of what pretends to be a tensor
        raise _unreadable("cumulative_lens", f"not readable ({error})") from None
    window = make_window(1, *rules)
    longest = int(lens.max()) if len(lens) else 0
    place = torch.arange(longest, device=begins.device)
    index = (begins[:, None] + place).clamp(max=len(query) - 1).to(query.device)
    padded = (query[index], key[index], value[index])
    out, lse = varlen(1, *padded, lens, rules, scale, True)
    kept = (place[None, :: window.query_step[0]] < lens[:, None]).flatten().nonzero().flatten()
    kept = kept.to(query.device)
    out, lse = (t.flatten(0, 1).index_select(0, kept) for t in (out, lse))
    return (out, lse) if return_lse else out


def _readable(name: str, tensor: Any) -> None:
    """Refuse lengths whose values are not there to be read, or would be read only once."""
    if torch.compiler.is_compiling():
        return
    if _carriers.is_distributed(tensor):
        raise _unreadable(name, "a DTensor")
    if _carriers.is_foreign(tensor):
        raise _unreadable(name, f"a {type(tensor).__name__}")
    if name != "cumulative_lens":
        return
    if torch._C._get_tracing_state() is not None:
        raise _unreadable(name, "being recorded by torch.jit.trace")
    if _plain.kind_of(tensor) is None and not tensor.is_meta:
        raise _unreadable(name, _carriers.describe(tensor))


def _unreadable(name: str, what: str) -> NotImplementedError:
    return NotImplementedError(
        f"{name} is {what} (want a plain tensor, whose values can be read, or na1d_varlen)"
    )
