# SPDX-License-Identifier: MIT
"""Parameters of a window, given as one value or one an axis."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch

from .window import Window

Ints = int | Sequence[int]
Bools = bool | Sequence[bool]


def normalize_tuple_param(value: Any, rank: int, name: str) -> tuple[Any, ...]:
    """`value` as a tuple with one entry an axis.

    Accepts an int or bool, or a tuple or list of `rank` of them; integers must be positive.
    """
    if isinstance(value, int):
        value = (value,) * rank
    elif not isinstance(value, tuple | list):
        raise ValueError(f"{name} must be an int, bool, or tuple/list of length {rank}.")
    if len(value) != rank:
        raise ValueError(f"{name} must have length {rank}, got {len(value)}.")
    bools = [isinstance(v, bool) for v in value]
    if not all(isinstance(v, int) for v in value):
        raise ValueError(f"{name} values must be int or bool.")
    if any(bools) and not all(bools):
        raise ValueError(f"{name} cannot mix bool and int values.")
    for v in value:
        if not isinstance(v, bool) and v <= 0:
            raise ValueError(f"{name} values must be > 0, got {v}.")
    return tuple(value)


def normalize_positive(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """`value` as a tuple of positive integers, one an axis."""
    values = normalize_tuple_param(value, rank, name)
    if isinstance(values[0], bool):
        raise ValueError(f"{name} must contain integers, not bools.")
    return values


def normalize_kernel_size(kernel_size: Any, rank: int) -> tuple[int, ...]:
    """`kernel_size` as a tuple of positive integers, one an axis."""
    return normalize_positive(kernel_size, rank, "kernel_size")


def normalize_causal(is_causal: Any, rank: int) -> tuple[bool, ...]:
    """`is_causal` as a tuple of bools, one an axis; 0 and 1 stand for False and True."""
    flags = list(is_causal) if isinstance(is_causal, tuple | list) else is_causal
    if isinstance(flags, list) and all(type(v) is int and v in (0, 1) for v in flags):
        flags = [bool(v) for v in flags]
    elif type(flags) is int and flags in (0, 1):
        flags = bool(flags)
    values = normalize_tuple_param(flags, rank, "is_causal")
    return tuple(bool(v) for v in values)


def check_kernel_size_vs_input(
    kernel_size: Sequence[int], input_spatial_shape: Sequence[int]
) -> None:
    """Refuse a window that is longer than the input."""
    _check_rank(kernel_size=kernel_size, input_spatial_shape=input_spatial_shape)
    for axis, (k, n) in enumerate(zip(kernel_size, input_spatial_shape, strict=True)):
        if k > n:
            raise ValueError(f"kernel_size[{axis}]={k} cannot exceed input spatial size {n}.")


def check_stride_vs_kernel(stride: Sequence[int], kernel_size: Sequence[int]) -> None:
    """Refuse a stride that is longer than the window."""
    _check_rank(stride=stride, kernel_size=kernel_size)
    for axis, (s, k) in enumerate(zip(stride, kernel_size, strict=True)):
        if s > k:
            raise ValueError(f"stride[{axis}]={s} must be <= kernel_size[{axis}]={k}.")


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
        raise ValueError(f"parameters differ in rank: {ranks} (want one entry an axis in each).")


def _is_plain(value: Any, kind: type) -> bool:
    return type(value) is kind or (type(value) is tuple and all(type(v) is kind for v in value))


def make_window(
    rank: int, kernel_size: Any, dilation: Any, query_step: Any, is_causal: Any
) -> Window:
    """The window of natten_mps's own functions; None stands for 1, or for not causal.

    Their `stride` is our query_step, and masked slots of their split operations lead.
    """
    dilation = 1 if dilation is None else dilation
    query_step = 1 if query_step is None else query_step
    is_causal = False if is_causal is None else is_causal
    if torch.compiler.is_compiling():
        return _window(rank, kernel_size, dilation, query_step, is_causal)
    ints = _is_plain(kernel_size, int) and _is_plain(dilation, int) and _is_plain(query_step, int)
    if ints and _is_plain(is_causal, bool):  # True == 1 would find the other's entry
        return _plain_window(rank, kernel_size, dilation, query_step, is_causal)
    return _window(rank, kernel_size, dilation, query_step, is_causal)


def _window(rank: int, kernel_size: Any, dilation: Any, query_step: Any, is_causal: Any) -> Window:
    return Window(
        kernel=normalize_kernel_size(kernel_size, rank),
        dilation=normalize_positive(dilation, rank, "dilation"),
        stride=(1,) * rank,
        query_step=normalize_positive(query_step, rank, "stride"),
        causal=normalize_causal(is_causal, rank),
        mask_first=True,
    )


_plain_window = lru_cache(maxsize=1024)(_window)
