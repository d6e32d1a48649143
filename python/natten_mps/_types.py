# SPDX-License-Identifier: MIT
"""Types of the public functions. The return type depends on `return_lse`, which takes one overload
per value; the overloads for all ranks are defined once, here."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, SupportsIndex, overload

from torch import Tensor

#: One integer, or one per axis.
Ints = SupportsIndex | Sequence[SupportsIndex]
#: A nonnegative integer, one per axis, or None.
Offsets = Ints | None
#: A bool, or one per axis.
Bools = bool | Sequence[bool]
#: Kernel size, dilation, stride, is_causal and window stride.
Rules = tuple[Ints, Ints, Ints, Bools, Ints]
#: Factor of the logits.
Scale = float | None
Both = tuple[Tensor, Tensor]
Result = Tensor | Both


class Fused(Protocol):
    """na1d, na2d and na3d."""

    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kernel_size: Ints,
        stride: Ints = 1,
        dilation: Ints = 1,
        is_causal: Bools = False,
        scale: Scale = None,
        return_lse: Literal[False] = False,
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        *,
        rpb: Tensor | None = None,
        window_stride: Ints = 1,
        query_offset: Offsets = None,
        key_offset: Offsets = None,
        full_size: Offsets = None,
    ) -> Tensor: ...
    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kernel_size: Ints,
        stride: Ints = 1,
        dilation: Ints = 1,
        is_causal: Bools = False,
        scale: Scale = None,
        *,
        return_lse: Literal[True],
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        rpb: Tensor | None = None,
        window_stride: Ints = 1,
        query_offset: Offsets = None,
        key_offset: Offsets = None,
        full_size: Offsets = None,
    ) -> Both: ...
    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kernel_size: Ints,
        stride: Ints,
        dilation: Ints,
        is_causal: Bools,
        scale: Scale,
        return_lse: Literal[True],
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        *,
        rpb: Tensor | None = None,
        window_stride: Ints = 1,
        query_offset: Offsets = None,
        key_offset: Offsets = None,
        full_size: Offsets = None,
    ) -> Both: ...
    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        kernel_size: Ints,
        stride: Ints = 1,
        dilation: Ints = 1,
        is_causal: Bools = False,
        scale: Scale = None,
        return_lse: bool = False,
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        *,
        rpb: Tensor | None = None,
        window_stride: Ints = 1,
        query_offset: Offsets = None,
        key_offset: Offsets = None,
        full_size: Offsets = None,
    ) -> Result: ...


class Varlen1D(Protocol):
    """na1d_varlen."""

    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        seq_lens: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        *,
        stride: Ints = 1,
        is_causal: Bools = False,
        return_lse: Literal[False] = False,
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        window_stride: Ints = 1,
    ) -> Tensor: ...
    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        seq_lens: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        *,
        stride: Ints = 1,
        is_causal: Bools = False,
        return_lse: Literal[True],
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        window_stride: Ints = 1,
    ) -> Both: ...
    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        seq_lens: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        *,
        stride: Ints = 1,
        is_causal: Bools = False,
        return_lse: bool = False,
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        window_stride: Ints = 1,
    ) -> Result: ...


class Varlen(Protocol):
    """na2d_varlen and na3d_varlen."""

    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        spatial_sizes: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        *,
        stride: Ints = 1,
        is_causal: Bools = False,
        return_lse: Literal[False] = False,
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        window_stride: Ints = 1,
    ) -> Tensor: ...
    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        spatial_sizes: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        *,
        stride: Ints = 1,
        is_causal: Bools = False,
        return_lse: Literal[True],
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        window_stride: Ints = 1,
    ) -> Both: ...
    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        spatial_sizes: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        *,
        stride: Ints = 1,
        is_causal: Bools = False,
        return_lse: bool = False,
        additional_keys: Tensor | None = None,
        additional_values: Tensor | None = None,
        window_stride: Ints = 1,
    ) -> Result: ...


class Packed(Protocol):
    """na1d_packed."""

    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cumulative_lens: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        *,
        stride: Ints = 1,
        is_causal: Bools = False,
        return_lse: Literal[False] = False,
        window_stride: Ints = 1,
    ) -> Tensor: ...
    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cumulative_lens: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        *,
        stride: Ints = 1,
        is_causal: Bools = False,
        return_lse: Literal[True],
        window_stride: Ints = 1,
    ) -> Both: ...
    @overload
    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cumulative_lens: Tensor,
        kernel_size: Ints,
        dilation: Ints = 1,
        scale: Scale = None,
        *,
        stride: Ints = 1,
        is_causal: Bools = False,
        return_lse: bool = False,
        window_stride: Ints = 1,
    ) -> Result: ...


def fused(function: Any) -> Fused:
    """Give a function its static type and nothing else; so do the three decorators below."""
    return function


def varlen_1d(function: Any) -> Varlen1D:
    return function


def varlen(function: Any) -> Varlen:
    return function


def packed(function: Any) -> Packed:
    return function
