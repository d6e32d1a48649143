# SPDX-License-Identifier: MIT
"""Names of those upstream backends that run without CUDA."""

from typing import Any

from torch import Tensor

from .._common.gna import tensors
from .._common.ranked import copies
from . import functional
from ._configs import can_run_flex_attention as can_run_flex_attention

Result = Tensor | tuple[Tensor, Tensor]


def choose_backend(query: Tensor, key: Tensor, value: Tensor, torch_compile: bool) -> str:
    """Returns upstream's name for a backend without CUDA."""
    tensors.na_tensor_checks(query, key, value)
    return "flex-fna"


def choose_fmha_backend(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, is_varlen: bool, torch_compile: bool
) -> str:
    """Returns upstream's name for a backend without CUDA."""
    tensors.fmha_tensor_checks(query, key, value)
    return "flex-fmha"


def get_compatible_backends(
    query: Tensor, key: Tensor, value: Tensor, torch_compile: bool
) -> list[str]:
    """Returns upstream's names for backends without CUDA."""
    return [choose_backend(query, key, value, torch_compile)]


def get_compatible_fmha_backends(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, is_varlen: bool, torch_compile: bool
) -> list[str]:
    """Returns upstream's names for backends without CUDA."""
    return [choose_fmha_backend(query, key, value, is_causal, is_varlen, torch_compile)]


def flex_fna_generic(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Any,
    stride: Any = 1,
    dilation: Any = 1,
    is_causal: Any = False,
    scale: float | None = None,
    q_tile_shape: Any = None,
    kv_tile_shape: Any = None,
    torch_compile: bool = False,
    return_lse: bool = False,
) -> Result:
    """Same as `neighborhood_attention_generic` with the backend "flex-fna"."""
    return functional.neighborhood_attention_generic(
        query,
        key,
        value,
        kernel_size,
        stride,
        dilation,
        is_causal,
        scale,
        backend="flex-fna",
        q_tile_shape=q_tile_shape,
        kv_tile_shape=kv_tile_shape,
        return_lse=return_lse,
    )


def reference_fna_generic(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Any,
    stride: Any = 1,
    dilation: Any = 1,
    is_causal: Any = False,
    scale: float | None = None,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    return_lse: bool = False,
) -> Result:
    """Same as `neighborhood_attention_generic`."""
    return functional.neighborhood_attention_generic(
        query,
        key,
        value,
        kernel_size,
        stride,
        dilation,
        is_causal,
        scale,
        additional_keys,
        additional_values,
        return_lse=return_lse,
    )


na1d_flex, na2d_flex, na3d_flex = copies("na{}d_flex", flex_fna_generic)
na1d_reference, na2d_reference, na3d_reference = copies("na{}d_reference", reference_fna_generic)


def flex_fmha(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_causal: bool = False,
    scale: float | None = None,
    q_tile_size: int | None = None,
    kv_tile_size: int | None = None,
    torch_compile: bool = False,
    return_lse: bool = False,
    cumulative_seqlen_Q: Tensor | None = None,
    cumulative_seqlen_KV: Tensor | None = None,
    max_seqlen_Q: int = 0,
    max_seqlen_KV: int = 0,
) -> Result:
    """Same as `attention` with the backend "flex-fmha"."""
    return functional.attention(
        query,
        key,
        value,
        is_causal=is_causal,
        scale=scale,
        backend="flex-fmha",
        q_tile_size=q_tile_size,
        kv_tile_size=kv_tile_size,
        return_lse=return_lse,
        cumulative_seqlen_Q=cumulative_seqlen_Q,
        cumulative_seqlen_KV=cumulative_seqlen_KV,
        max_seqlen_Q=max_seqlen_Q,
        max_seqlen_KV=max_seqlen_KV,
    )
