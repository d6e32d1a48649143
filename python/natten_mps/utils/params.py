# SPDX-License-Identifier: MIT
"""Normalizes window parameters, which are given as one value or one per axis."""

import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from .._types import Bools as Bools
from .._types import Ints as Ints
from .window import Window

# Tuples, because the compiler of torch 2.6 does not support unions of types.
_PLAIN = (int, tuple, list)
_TEXT = (str, bytes)


def _plain(value: Any) -> Any:
    """Convert NumPy scalars and arrays, and objects that act as integers, to Python values."""
    if isinstance(value, _PLAIN):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return operator.index(value) if hasattr(value, "__index__") else value


def _plain_or_symbol(value: Any) -> Any:
    return value if isinstance(value, torch.SymInt) else _plain(value)


def normalize_tuple_param(value: Any, rank: int, name: str) -> tuple[Any, ...]:
    """Return `value` as a tuple with one entry per axis.

    Accepts an integer or bool, or a sequence of `rank` of them; integers must be positive.
    """
    given, value = value, _plain(value)
    if isinstance(value, int):
        value = (value,) * rank
    elif isinstance(value, _TEXT) or not isinstance(value, Sequence):
        raise ValueError(f"{name} is {given!r} (want {_wanted(name, rank)}).")
    if len(value) != rank:
        raise ValueError(f"{name} must have length {rank}, got {len(value)}.")
    value = tuple(_plain(v) for v in value)
    bools = [isinstance(v, bool) for v in value]
    if not all(isinstance(v, int) for v in value):
        raise ValueError(f"{name} is {given!r} (want {_wanted(name, rank)}).")
    if any(bools) and not all(bools):
        raise ValueError(f"{name} cannot mix bool and int values.")
    for v in value:
        if not isinstance(v, bool) and v <= 0:
            raise ValueError(f"{name} values must be > 0, got {v}.")
    return value


def _wanted(name: str, rank: int) -> str:
    entry = "True or False" if name == "is_causal" else "a positive integer"
    return f"{entry}, or a sequence of {rank}, one per axis"


def normalize_positive(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """Return `value` as a tuple of positive integers, one per axis."""
    values = normalize_tuple_param(value, rank, name)
    if isinstance(values[0], bool):
        raise ValueError(f"{name} must contain integers, not bools.")
    return values


def normalize_kernel_size(kernel_size: Any, rank: int) -> tuple[int, ...]:
    """Return `kernel_size` as a tuple of positive integers, one per axis."""
    return normalize_positive(kernel_size, rank, "kernel_size")


def normalize_offset(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """Return `value` as a tuple of nonnegative, possibly symbolic integers, one per axis."""
    given, value = value, _plain_or_symbol(value)
    if isinstance(value, Sequence) and not isinstance(value, _TEXT):
        entries = tuple(_plain_or_symbol(v) for v in value)
    else:
        entries = (value,) * rank
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, (int, torch.SymInt)):
            raise ValueError(
                f"{name} is {given!r} (want an integer from 0 on, or a sequence of {rank}, one per"
                " axis)."
            )
        if entry < 0:
            raise ValueError(f"{name} values must be >= 0, got {entry}.")
    if len(entries) != rank:
        raise ValueError(f"{name} must have length {rank}, got {len(entries)}.")
    return entries


def normalize_causal(is_causal: Any, rank: int) -> tuple[bool, ...]:
    """Return `is_causal` as a tuple of bools, one per axis; 0 and 1 stand for False and True."""
    given, is_causal = is_causal, _plain(is_causal)
    if isinstance(is_causal, Sequence) and not isinstance(is_causal, _TEXT):
        flags = tuple(_plain(v) for v in is_causal)
    else:
        flags = (is_causal,) * rank
    if not all(isinstance(v, int) and v in (0, 1) for v in flags):
        raise ValueError(f"is_causal is {given!r} (want {_wanted('is_causal', rank)}).")
    return normalize_tuple_param([bool(v) for v in flags], rank, "is_causal")


def check_kernel_size_vs_input(
    kernel_size: Sequence[int], input_spatial_shape: Sequence[int]
) -> None:
    """Refuse a window that is longer than the input."""
    _check_rank(kernel_size=kernel_size, input_spatial_shape=input_spatial_shape)
    for axis, (k, n) in enumerate(zip(kernel_size, input_spatial_shape, strict=True)):
        if k > n:
            raise ValueError(f"kernel_size[{axis}]={k} cannot exceed input spatial size {n}.")


def check_stride_vs_kernel(
    stride: Sequence[int], kernel_size: Sequence[int], name: str = "stride"
) -> None:
    """Refuse a stride that is longer than the window."""
    _check_rank(stride=stride, kernel_size=kernel_size)
    for axis, (s, k) in enumerate(zip(stride, kernel_size, strict=True)):
        if s > k:
            raise ValueError(f"{name}[{axis}]={s} must be <= kernel_size[{axis}]={k}.")


def check_dilation_kernel_vs_input(
    dilation: Sequence[int], kernel_size: Sequence[int], input_spatial_shape: Sequence[int]
) -> None:
    """Refuse a dilated window that is longer than the input."""
    _check_rank(dilation=dilation, kernel_size=kernel_size, input_spatial_shape=input_spatial_shape)
    axes = zip(dilation, kernel_size, input_spatial_shape, strict=True)
    for axis, (d, k, n) in enumerate(axes):
        if d * k > n:
            raise ValueError(
                f"dilation[{axis}] * kernel_size[{axis}] = {d * k} exceeds input spatial size {n}."
            )


def _check_rank(**parameters: Sequence[int]) -> None:
    ranks = {name: len(value) for name, value in parameters.items()}
    if len(set(ranks.values())) > 1:
        raise ValueError(f"parameters differ in rank: {ranks} (want one entry per axis in each).")


def _is_plain(value: Any, kind: type) -> bool:
    return type(value) is kind or (type(value) is tuple and all(type(v) is kind for v in value))


def make_window(
    rank: int,
    kernel_size: Any,
    dilation: Any,
    query_step: Any,
    is_causal: Any,
    window_stride: Any = 1,
    short_steps: bool = False,
) -> Window:
    """Make the window for natten_mps's own functions; None means 1, or not causal.

    Their `stride` is our query_step and their window_stride our stride; in their split operations
    masked slots come first. `short_steps`: whether query_step must not exceed the window.
    """
    rules = (rank, kernel_size, dilation, query_step, window_stride, is_causal, short_steps)
    plain = (
        type(kernel_size) is int
        and type(dilation) is int
        and type(query_step) is int
        and type(window_stride) is int
        and type(is_causal) is bool
    )  # True == 1 would otherwise find the entry of the other
    if torch.compiler.is_compiling() or not (plain or _are_plain(rules)):
        return _window(*rules)
    return _remembered_window(*rules)


def _are_plain(rules: tuple[Any, ...]) -> bool:
    return all(_is_plain(v, int) for v in rules[1:5]) and _is_plain(rules[5], bool)


def _window(
    rank: int,
    kernel_size: Any,
    dilation: Any,
    query_step: Any,
    stride: Any,
    is_causal: Any,
    short_steps: bool,
) -> Window:
    window = Window(
        kernel=normalize_kernel_size(kernel_size, rank),
        dilation=normalize_positive(1 if dilation is None else dilation, rank, "dilation"),
        stride=normalize_positive(1 if stride is None else stride, rank, "window_stride"),
        query_step=normalize_positive(1 if query_step is None else query_step, rank, "stride"),
        causal=normalize_causal(False if is_causal is None else is_causal, rank),
        mask_first=True,
    )
    check_stride_vs_kernel(window.stride, window.kernel, "window_stride")
    if short_steps:
        check_stride_vs_kernel(window.query_step, window.kernel)
    return window


_remembered_window = lru_cache(maxsize=1024, typed=True)(_window)
