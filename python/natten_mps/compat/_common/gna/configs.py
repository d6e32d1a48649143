# SPDX-License-Identifier: MIT
"""Which tile shapes there are to choose from: those of "flex", and none of CUDA kernels."""

from typing import Any

from torch import Tensor

from . import arguments, tensors


def no_fna_configs(query: Tensor, key: Tensor, value: Tensor) -> list[Any]:
    """There are no CUDA kernels here, so nothing to choose from."""
    tensors.na_tensor_checks(query, key, value)
    return []


def no_fmha_configs(query: Tensor, key: Tensor, value: Tensor) -> list[Any]:
    """There are no CUDA kernels here, so nothing to choose from."""
    tensors.fmha_tensor_checks(query, key, value)
    return []


def get_configs_for_flex_fna(
    query: Tensor, key: Tensor, value: Tensor, torch_compile: bool = False
) -> list[tuple[Any, Any]]:
    """Pairs (q_tile_shape, kv_tile_shape) that the backend "flex-fna" takes."""
    tensors.na_tensor_checks(query, key, value)
    return arguments.flex_tiles(query.dim() - 3)


def get_configs_for_flex_fmha(
    query: Tensor, key: Tensor, value: Tensor, torch_compile: bool = False
) -> list[tuple[int, int]]:
    """Pairs (q_tile_size, kv_tile_size) that the backend "flex-fmha" takes."""
    tensors.fmha_tensor_checks(query, key, value)
    return [(64, 64)]
