# SPDX-License-Identifier: MIT
"""Token permutation, with dilation groups folded into the batch."""

import torch
from torch import Tensor

from .._common.gna import permute
from .._common.types import DimensionType


def token_permute_operation(
    tensor: Tensor,
    tile_shape: DimensionType,
    dilation: DimensionType | None = None,
    flip_tiled_dims: bool = True,
    use_torch: bool = False,
) -> tuple[Tensor, DimensionType, DimensionType]:
    """Maps padded [B, axes..., H, D] to [B * groups, tokens, H, D]. Also returns the layout before,
    and the padded layout of a group. `use_torch` has no effect."""
    dilation = (1,) * len(tile_shape) if dilation is None else dilation  # type: ignore[assignment]
    assert dilation is not None
    layout = tuple(tensor.shape[1:-2])
    padded = permute.pad(tensor, permute.padding(layout, tile_shape, dilation))
    group = tuple(n // d for n, d in zip(padded.shape[1:-2], dilation, strict=True))
    permuted = permute.permute(padded, tile_shape, dilation, flip_tiled_dims)
    return permuted.flatten(0, 1), layout, group  # type: ignore[return-value]


def token_unpermute_operation(
    tensor: Tensor,
    token_layout_shape: DimensionType,
    tile_shape: DimensionType,
    dilation: DimensionType | None = None,
    flip_tiled_dims: bool = True,
    use_torch: bool = False,
) -> Tensor:
    """Inverts :func:`token_permute_operation`: [B, axes..., H, D] with the given layout."""
    dilation = (1,) * len(tile_shape) if dilation is None else dilation  # type: ignore[assignment]
    assert dilation is not None
    amounts = permute.padding(token_layout_shape, tile_shape, dilation)
    padded = tuple(n + p for n, p in zip(token_layout_shape, amounts, strict=True))
    groups = 1
    for d in dilation:
        groups *= d
    out = permute.unpermute(
        torch.unflatten(tensor, 0, (-1, groups)),
        permute.rest(padded, tile_shape, dilation),
        tile_shape,
        dilation,
        flip_tiled_dims,
    )
    for axis, n in enumerate(token_layout_shape, start=1):
        out = out.narrow(axis, 0, n)
    return out


token_permute_torch, token_unpermute_torch = token_permute_operation, token_unpermute_operation
