# SPDX-License-Identifier: MIT
"""Upstream's search for tile shapes of its CUDA kernels; here tile shapes have no effect."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

Tiles = tuple[Any, ...]

# Tokens of a tile, by number of axes; query and key-value tiles are equal.
_TILES = {1: (64,), 2: (8, 8), 3: (4, 4, 4)}


def get_default_tiling_config_for_fna_forward(
    na_dim: int, input_tensor: Tensor, dilation: Sequence[int]
) -> Tiles:
    """(query tile, key-value tile)."""
    return _TILES[na_dim], _TILES[na_dim]


def get_default_tiling_config_for_fna_backward(
    na_dim: int, input_tensor: Tensor, dilation: Sequence[int]
) -> Tiles:
    """(query tile, key-value tile, key-value splits, whether torch reduces)."""
    return _TILES[na_dim], _TILES[na_dim], (1,) * na_dim, False


def get_all_tiling_configs_for_fna_forward(
    na_dim: int, input_tensor: Tensor, dilation: Sequence[int]
) -> list[Tiles]:
    """The only tiling."""
    return [get_default_tiling_config_for_fna_forward(na_dim, input_tensor, dilation)]


def get_all_tiling_configs_for_fna_backward(
    na_dim: int, input_tensor: Tensor, dilation: Sequence[int]
) -> list[Tiles]:
    """The only tiling."""
    return [get_default_tiling_config_for_fna_backward(na_dim, input_tensor, dilation)]


def autotune_fna(
    na_dim: int, input_tensor: Tensor, kernel_size: Any, dilation: Any, is_causal: Any
) -> tuple[Tiles, Tiles]:
    """Tilings of the forward and backward pass, for the fused autograd functions."""
    return (
        get_default_tiling_config_for_fna_forward(na_dim, input_tensor, dilation),
        get_default_tiling_config_for_fna_backward(na_dim, input_tensor, dilation),
    )
