# SPDX-License-Identifier: MIT
"""Argument checks of natten-mps's functions that the operations lack, and natten-mps's messages."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import _carriers, _plain
from ._layout import Misfit, TypeMisfit
from .utils.window import Window

Shape = tuple[int, ...]

LAYOUTS = {1: "[B, L, H, D]", 2: "[B, H, W, heads, dim]", 3: "[B, D, H, W, heads, dim]"}
_ATTN_LAYOUTS = {1: "[B, L, H, K]", 2: "[B, H, W, heads, K]", 3: "[B, D, H, W, heads, K]"}
#: Operation argument -> argument of the public functions.
_NAMES = {"extra_key": "additional_keys", "extra_value": "additional_values"}
_BOTH = "additional_keys and additional_values must"


def in_own_words(misfit: Misfit, name: str) -> Misfit:
    """Return the same Misfit with the message of the public function `name`."""
    tell = _WORDS.get(misfit.kind)
    text = tell(name, misfit.facts) if tell is not None else None
    if text is None:
        return misfit
    return type(misfit)(misfit.kind, text + misfit.facts.get("hint", ""), misfit.facts)


def _type(name: str, facts: Any) -> str:
    given = facts["name"]
    who = "additional KV" if given in _NAMES else name
    argument = _NAMES.get(given, given)
    return f"{who} expects {argument} to be a tensor, got {facts['got'].__name__}."


def _dims(name: str, facts: Any) -> str | None:
    rank, given = len(facts["window"].kernel), facts["name"]
    if given in _NAMES:
        return "additional_keys/additional_values must be 4D: [B, N_extra, heads_kv, dim]."
    if given == "rpb":
        return None
    if facts["op"] == "av":
        layout = LAYOUTS if given == "value" else _ATTN_LAYOUTS
        return f"{name} expects {given} with shape {layout[rank]}."
    names = "query/key/value" if facts["op"] == "attn" else "query/key"
    return f"{name} expects {names} with shape {LAYOUTS[rank]}."


def _unequal(name: str, facts: Any) -> str | None:
    """One message for any difference between the shapes of the first tensors."""
    if facts.get("name") in _NAMES:
        return None
    if facts["op"] == "qk":
        return f"query and key must share the same shape in {name}."
    if name.endswith("_varlen"):
        return "query, key, and value must have identical shapes."
    return None


def _batch(name: str, facts: Any) -> str:
    if facts["name"] in _NAMES:
        return f"{_NAMES[facts['name']]} batch must match query batch."
    if facts["op"] == "av":
        return f"{name} requires attn/value to match on batch and heads dimensions."
    return _unequal(name, facts) or "Batch dimensions must match."


def _lengths(name: str, facts: Any) -> str | None:
    if facts["op"] != "av":
        q, k, v = (torch.Size(facts["shapes"].get(n, ())[1:-2]) for n in ("query", "key", "value"))
        return _unequal(name, facts) or f"Spatial dimensions must match: Q={q}, K={k}, V={v}."
    attn, value = (facts["shapes"][n][1:-2] for n in ("attn", "value"))
    if all(a <= v for a, v in zip(attn, value, strict=True)):
        return None
    size = "sequence length" if len(attn) == 1 else "spatial size"
    return f"{name} attn {size} cannot exceed value {size}."


def _head_dim(name: str, facts: Any) -> str:
    given, shapes = facts["name"], facts["shapes"]
    if given not in _NAMES:
        text = f"Head dim must match between Q and K: Q has {facts['got']}, K has {facts['want']}."
        return _unequal(name, facts) or text
    other = "value" if given == "extra_value" else "query"
    if other == "value" and shapes.get("query", shapes["value"])[-1] == shapes["value"][-1]:
        other = "query"
    return f"{_NAMES[given]} head dim must match {other} head dim."


def _kv_heads(name: str, facts: Any) -> str:
    got, want, shapes = facts["got"], facts["want"], facts["shapes"]
    if facts["name"] not in _NAMES:
        text = f"K and V must have same number of heads: K={want}, V={got}."
        return _unequal(name, facts) or text
    if "extra_value" in shapes and "extra_key" in shapes:
        keys, values = shapes["extra_key"][-2], shapes["extra_value"][-2]
        if keys != values:
            return f"{_BOTH} have same number of heads."
    return f"{_NAMES[facts['name']]} has {got} heads, key and value have {want} (want the same)."


def _heads(name: str, facts: Any) -> str:
    if facts["op"] == "av":
        return f"{name} requires attn/value to match on batch and heads dimensions."
    if name.endswith("_varlen"):
        return "query, key, and value must have identical shapes."
    heads, kv_heads = facts["heads"], facts["kv_heads"]
    return f"heads_q ({heads}) must be divisible by heads_kv ({kv_heads}) for GQA."


def _slots(name: str, facts: Any) -> str:
    rank = len(facts["window"].kernel)
    kind = {1: "kernel_size", 2: "kernel area", 3: "kernel volume"}[rank]
    return f"{name} attn last dim ({facts['got']}) must match {kind} ({facts['want']})."


def _span(name: str, facts: Any) -> str:
    axis, span = facts["axis"], facts["kernel"] * facts["dilation"]
    return (
        f"dilation[{axis}] * kernel_size[{axis}] = {span} exceeds input spatial size"
        f" {facts['length']}."
    )


#: Misfit kind -> (function name, facts) -> message; without one, the Misfit's own message is used.
_WORDS: dict[str, Callable[[str, Any], str | None]] = {
    "type": _type,
    "dims": _dims,
    "batch": _batch,
    "lengths": _lengths,
    "head_dim": _head_dim,
    "kv_heads": _kv_heads,
    "heads": _heads,
    "slots": _slots,
    "tokens": lambda *_: f"{_BOTH} have same N_extra.",
    "alone": lambda *_: f"{_BOTH} both be provided or both None.",
    "kernel": lambda _, facts: (
        f"kernel_size[{facts['axis']}]={facts['kernel']} cannot exceed input spatial size"
        f" {facts['length']}."
    ),
    "span": _span,
}


def _must(good: bool, text: Callable[[], str]) -> None:
    """Raise unless good. `text` is lazy because formatting would specialize traced sizes."""
    if not good:
        raise ValueError(text())


def tensors(name: str, **given: Any) -> None:
    """Refuse non-tensors and unsupported kinds of tensors."""
    try:
        _carriers.refuse(given)
    except TypeMisfit as misfit:
        raise in_own_words(misfit, name) from None


def element(x: Tensor) -> None:
    """Refuse a module input that is not floating-point."""
    if not x.is_floating_point():
        raise NotImplementedError(
            f"x is {x.dtype} (want one of float16, bfloat16, float32, float64)"
        )


def _readable(name: str, given: Tensor) -> None:
    """Refuse sizes that have no values when something has to be computed."""
    _must(not given.is_meta, lambda: f"{name} is on meta (want a device whose values can be read).")


def sizes(name: str, given: Tensor, query: Tensor, window: Window) -> Tensor:
    """Check seq_lens `[B]` or spatial_sizes `[B, rank]`, and return them as `[B, rank]`."""
    rank = len(window.kernel)
    argument = "seq_lens" if rank == 1 else "spatial_sizes"
    tensors("varlen", **{argument: given})
    tensors(name, query=query)
    if _carriers.is_foreign(given) or _carriers.is_foreign(query) or query.dim() != rank + 3:
        return given.reshape(-1, rank)  # the operation refuses a query with another rank
    if not query.is_meta:
        _readable(argument, given)
    batch, spatial, shape = query.shape[0], query.shape[1:-2], tuple(given.shape)
    if rank == 1:
        _must(
            shape == (batch,),
            lambda: f"seq_lens must be a 1-D tensor of length B={batch}, got shape {shape}.",
        )
    else:
        _must(
            shape == (batch, rank),
            lambda: f"spatial_sizes must be a [B, {rank}] tensor, got shape {shape}.",
        )
    _must(
        given.dtype in (torch.int32, torch.int64),
        lambda: f"{argument} must be int32 or int64, got {given.dtype}.",
    )
    given = given.reshape(batch, rank)
    if not _is_traced(given) and batch > 0:
        for axis, column in enumerate(zip(*given.tolist(), strict=True)):
            _size_range(axis, min(column), max(column), spatial, window)
    return given


def _is_traced(tensor: Tensor) -> bool:
    """Whether a tensor's values are missing or must not be read; they are checked at run time."""
    return torch.compiler.is_compiling() or _plain.kind_of(tensor) is None or not _plain.is_calm()


def _size_range(axis: int, low: int, high: int, spatial: Shape, window: Window) -> None:
    kernel, dilation, most = window.kernel[axis], window.dilation[axis], spatial[axis]
    if len(spatial) == 1:
        every, least, top = "seq_lens", f"kernel_size ({kernel})", f"L_max ({most})"
        span = f"dilation * kernel_size ({dilation * kernel})"
        got_low, got_high = f"min(seq_lens)={low}", f"max(seq_lens)={high}"
    else:
        every = f"spatial_sizes[:,{axis}]"
        least, top = f"kernel_size[{axis}] ({kernel})", f"max_spatial[{axis}] ({most})"
        span = f"dilation[{axis}] * kernel_size[{axis}] ({dilation * kernel})"
        got_low, got_high = f"min={low}", f"max={high}"
    _must(low >= kernel, lambda: f"All {every} must be >= {least}, but {got_low}.")
    _must(low >= kernel * dilation, lambda: f"All {every} must be >= {span}, but {got_low}.")
    _must(high <= most, lambda: f"All {every} must be <= {top}, but {got_high}.")


def packed(query: Shape, key: Shape, value: Shape, cumulative: Tensor) -> tuple[Tensor, Tensor]:
    """Starts and lengths of the sequences of na1d_packed."""
    _must(
        len(query) == len(key) == len(value) == 3 and query[0] == key[0] == value[0],
        lambda: (
            "na1d_packed expects query/key/value with shape [total, heads, dim] and one total, got"
            f" {tuple(query)}, {tuple(key)}, {tuple(value)}."
        ),
    )
    tensors("na1d_packed", cumulative_lens=cumulative)
    _must(
        cumulative.dim() == 1 and cumulative.dtype in (torch.int32, torch.int64),
        lambda: (
            "cumulative_lens must be a 1-D tensor of int32 or int64, got"
            f" {cumulative.dtype} of shape {tuple(cumulative.shape)}."
        ),
    )
    _readable("cumulative_lens", cumulative)
    ends = cumulative.to("cpu", torch.int64)
    lens = ends.diff()
    good = len(ends) >= 1 and bool((ends[0] == 0) & (ends[-1] == query[0]) & (lens >= 0).all())
    _must(
        good,
        lambda: (
            f"cumulative_lens must rise from 0 to the number of tokens, {query[0]}, got"
            f" {ends.tolist()}."
        ),
    )
    return ends[:-1], lens
