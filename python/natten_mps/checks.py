# SPDX-License-Identifier: MIT
"""What the functions of natten-mps refuse, in its words. Shapes only: see _problem for the rest."""

from collections.abc import Callable
from functools import lru_cache, wraps
from math import prod
from typing import Any

import torch
from torch import Tensor

from ._layout import other_order
from ._operation import ATTN, AV, QK
from .utils.params import (
    check_dilation_kernel_vs_input,
    check_kernel_size_vs_input,
    check_stride_vs_kernel,
)
from .utils.window import Window

Shape = tuple[int, ...]

LAYOUTS = {1: "[B, L, H, D]", 2: "[B, H, W, heads, dim]", 3: "[B, D, H, W, heads, dim]"}
_ATTN_LAYOUTS = {1: "[B, L, H, K]", 2: "[B, H, W, heads, K]", 3: "[B, D, H, W, heads, K]"}


def _once(check: Callable[..., None]) -> Callable[..., None]:
    """Check the same arguments once only. Symbolic sizes cannot be remembered."""
    remembered = lru_cache(maxsize=1024)(check)

    @wraps(check)
    def run(*arguments: Any) -> None:
        if torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
            check(*arguments)
            return
        try:
            remembered(*arguments)
        except ValueError as error:
            raise ValueError(f"{error}{_hint(*arguments)}") from None

    return run


def _hint(name: Any, *arguments: Any) -> str:
    """What to say besides of shapes whose heads stand before the axes."""
    window = next((a for a in arguments if isinstance(a, Window)), None)
    if window is None:
        return ""
    op = {"qk": QK, "av": AV}.get(name.rpartition("_")[2], ATTN)
    shapes = dict(zip(op.inputs, arguments[: arguments.index(window)], strict=False))
    return other_order(op, shapes, window, False)


def _must(good: bool, text: Callable[[], str]) -> None:
    """`text` is called only on failure: formatting would fix the sizes that are traced."""
    if not good:
        raise ValueError(text())


def tensors(name: str, **given: Any) -> None:
    """Refuse what is no tensor."""
    for argument, value in given.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} expects {argument} to be a tensor, got {type(value).__name__}."
            )


def _readable(name: str, given: Tensor) -> None:
    """Refuse sizes without values, where something is to be computed."""
    _must(not given.is_meta, lambda: f"{name} is on meta (want a device whose values can be read).")


def _window(window: Window, spatial: Shape) -> None:
    check_kernel_size_vs_input(window.kernel, spatial)
    check_dilation_kernel_vs_input(window.dilation, window.kernel, spatial)


def _grouped(heads: int, kv_heads: int) -> None:
    _must(
        kv_heads > 0 and heads % kv_heads == 0,
        lambda: f"heads_q ({heads}) must be divisible by heads_kv ({kv_heads}) for GQA.",
    )


def fused(name: str, query: Shape, key: Shape, value: Shape, window: Window) -> None:
    """Arguments of na1d, na2d and na3d.

    The operation refuses bad shapes by itself. To a compiler each function of a check is something
    to look at again before every call, so that it is given only what the operation would take.
    """
    if torch.compiler.is_compiling():
        check_stride_vs_kernel(window.query_step, window.kernel)
    else:
        _fused(name, query, key, value, window)


@_once
def _fused(name: str, query: Shape, key: Shape, value: Shape, window: Window) -> None:
    rank = len(window.kernel)
    _must(
        len(query) == len(key) == len(value) == rank + 3,
        lambda: f"{name} expects query/key/value with shape {LAYOUTS[rank]}.",
    )
    spatial = query[1:-2]
    _must(
        spatial == key[1:-2] == value[1:-2],
        lambda: f"Spatial dimensions must match: Q={spatial}, K={key[1:-2]}, V={value[1:-2]}.",
    )
    _must(query[0] == key[0] == value[0], lambda: "Batch dimensions must match.")
    _must(
        query[-1] == key[-1],
        lambda: f"Head dim must match between Q and K: Q has {query[-1]}, K has {key[-1]}.",
    )
    _must(
        key[-2] == value[-2],
        lambda: f"K and V must have same number of heads: K={key[-2]}, V={value[-2]}.",
    )
    _grouped(query[-2], key[-2])
    check_kernel_size_vs_input(window.kernel, spatial)
    check_stride_vs_kernel(window.query_step, window.kernel)
    check_dilation_kernel_vs_input(window.dilation, window.kernel, spatial)


def additional(query: Tensor, value: Tensor, keys: Tensor | None, values: Tensor | None) -> None:
    """additional_keys and additional_values of the fused functions."""
    if keys is None and values is None:
        return
    _must(
        keys is not None and values is not None,
        lambda: "additional_keys and additional_values must both be provided or both None.",
    )
    assert keys is not None
    assert values is not None
    tensors("additional KV", additional_keys=keys, additional_values=values)
    _additional(query.shape, value.shape, keys.shape, values.shape)


@_once
def _additional(query: Shape, value: Shape, keys: Shape, values: Shape) -> None:
    _must(
        len(keys) == len(values) == 4,
        lambda: "additional_keys/additional_values must be 4D: [B, N_extra, heads_kv, dim].",
    )
    _must(keys[0] == query[0], lambda: "additional_keys batch must match query batch.")
    _must(values[0] == query[0], lambda: "additional_values batch must match query batch.")
    _must(keys[-1] == query[-1], lambda: "additional_keys head dim must match query head dim.")
    other = "query" if query[-1] == value[-1] else "value"
    _must(
        values[-1] == value[-1], lambda: f"additional_values head dim must match {other} head dim."
    )
    both = "additional_keys and additional_values must have same"
    _must(keys[2] == values[2], lambda: f"{both} number of heads.")
    _must(keys[1] == values[1], lambda: f"{both} N_extra.")
    _must(
        keys[2] == value[-2],
        lambda: (
            f"additional_keys has {keys[2]} heads, key and value have {value[-2]} (want the same)."
        ),
    )


@_once
def qk(name: str, query: Shape, key: Shape, window: Window) -> None:
    """Arguments of na1d_qk, na2d_qk and na3d_qk."""
    rank = len(window.kernel)
    _must(
        len(query) == len(key) == rank + 3,
        lambda: f"{name} expects query/key with shape {LAYOUTS[rank]}.",
    )
    same = query[:-2] == key[:-2] and query[-1] == key[-1]
    if same and query[-2] != key[-2] and key[-2] > 0:
        same = query[-2] % key[-2] == 0
    _must(same, lambda: f"query and key must share the same shape in {name}.")
    _grouped(query[-2], key[-2])
    _window(window, query[1:-2])


@_once
def av(name: str, attn: Shape, value: Shape, window: Window, extra: int) -> None:
    """Arguments of na1d_av, na2d_av and na3d_av."""
    rank = len(window.kernel)
    _must(len(attn) == rank + 3, lambda: f"{name} expects attn with shape {_ATTN_LAYOUTS[rank]}.")
    _must(len(value) == rank + 3, lambda: f"{name} expects value with shape {LAYOUTS[rank]}.")
    _must(
        attn[0] == value[0] and value[-2] > 0 and attn[-2] % value[-2] == 0,
        lambda: f"{name} requires attn/value to match on batch and heads dimensions.",
    )
    _must(
        all(a <= v for a, v in zip(attn[1:-2], value[1:-2], strict=True)),
        lambda: (
            f"{name} attn {'sequence length' if rank == 1 else 'spatial size'} cannot exceed value"
            f" {'sequence length' if rank == 1 else 'spatial size'}."
        ),
    )
    kind = {1: "kernel_size", 2: "kernel area", 3: "kernel volume"}[rank]
    slots = prod(window.kernel) + extra
    _must(
        attn[-1] == slots, lambda: f"{name} attn last dim ({attn[-1]}) must match {kind} ({slots})."
    )
    _window(window, value[1:-2])


@_once
def varlen(name: str, query: Shape, key: Shape, value: Shape, window: Window) -> None:
    """Shapes of the padded batch of na1d_varlen, na2d_varlen and na3d_varlen."""
    rank = len(window.kernel)
    _must(
        len(query) == len(key) == len(value) == rank + 3,
        lambda: f"{name} expects query/key/value with shape {LAYOUTS[rank]}.",
    )
    same = query[:-2] == key[:-2] == value[:-2] and query[-1] == key[-1] and key[-2] == value[-2]
    _must(
        same and key[-2] > 0 and query[-2] % key[-2] == 0,
        lambda: "query, key, and value must have identical shapes.",
    )
    _window(window, query[1:-2])


def sizes(given: Tensor, like: Tensor, spatial: Shape, window: Window) -> Tensor:
    """seq_lens `[B]` or spatial_sizes `[B, rank]` of a batch, checked, as `[B, rank]`."""
    batch = like.shape[0]
    rank = len(spatial)
    name = "seq_lens" if rank == 1 else "spatial_sizes"
    tensors("varlen", **{name: given})
    if not like.is_meta:
        _readable(name, given)
    shape = tuple(given.shape)
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
        lambda: f"{name} must be int32 or int64, got {given.dtype}.",
    )
    given = given.reshape(batch, rank)
    if not _is_traced(given) and batch > 0:
        for axis, column in enumerate(zip(*given.tolist(), strict=True)):
            _size_range(axis, min(column), max(column), spatial, window)
    return given


def _is_traced(tensor: Tensor) -> bool:
    """Whether a tensor's values are not there, or not to be read; those are checked at run."""
    return (
        torch.compiler.is_compiling() or tensor.is_meta or torch._C._len_torch_dispatch_stack() > 0
    )


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
    """Begins and lengths of the sequences of na1d_packed."""
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
