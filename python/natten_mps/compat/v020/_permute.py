# SPDX-License-Identifier: MIT
"""Token permutation, with dilation groups folded into the heads."""

import torch
from torch import Tensor

from .._common.gna import permute
from .._common.types import DimensionType


def _dilation(tile_shape: DimensionType, dilation: DimensionType | None) -> DimensionType:
    return (1,) * len(tile_shape) if dilation is None else dilation  # type: ignore[return-value]


def maybe_pad(
    tensor: Tensor, tile_shape: DimensionType, dilation: DimensionType | None = None
) -> tuple[Tensor, DimensionType]:
    """Returns [B, axes..., H, D] padded to multiples of tile * dilation, and the padding."""
    dilation = _dilation(tile_shape, dilation)
    amounts = permute.padding(tensor.shape[1:-2], tile_shape, dilation)
    return permute.pad(tensor, amounts), amounts  # type: ignore[return-value]


def maybe_unpad(tensor: Tensor, padding: DimensionType) -> Tensor:
    """Inverts :func:`maybe_pad`."""
    for axis, amount in enumerate(padding, start=1):
        tensor = tensor.narrow(axis, 0, tensor.shape[axis] - amount)
    return tensor


def token_permute(
    tensor: Tensor,
    tile_shape: DimensionType,
    dilation: DimensionType | None = None,
    flip_tiled_dims: bool = True,
) -> tuple[Tensor, DimensionType, DimensionType]:
    """Maps padded [B, axes..., H, D] to [B, tokens, groups * H, D]. Also returns the layout of a
    group and the number of tiles per axis."""
    dilation = _dilation(tile_shape, dilation)
    counts = permute.rest(tensor.shape[1:-2], tile_shape, dilation)
    group = tuple(n * t for n, t in zip(counts, tile_shape, strict=True))
    permuted = permute.permute(tensor, tile_shape, dilation, flip_tiled_dims)
    return permuted.transpose(1, 2).flatten(2, 3), group, counts  # type: ignore[return-value]


def token_unpermute(
    tensor: Tensor,
    tile_shape: DimensionType,
    orig_shape: DimensionType,
    rest_shape: DimensionType,
    dilation: DimensionType | None = None,
    flip_tiled_dims: bool = True,
) -> Tensor:
    """Inverts :func:`token_permute`."""
    dilation = _dilation(tile_shape, dilation)
    groups = 1
    for d in dilation:
        groups *= d
    grouped = torch.unflatten(tensor, 2, (groups, -1)).transpose(1, 2)
    return permute.unpermute(grouped, rest_shape, tile_shape, dilation, flip_tiled_dims)
