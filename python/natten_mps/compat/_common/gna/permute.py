# SPDX-License-Identifier: MIT
"""Token permutation: from [B, axes..., H, D] to the order in which tiled kernels read tokens.

Each axis is split into (rest, tile, dilation), slowest first. The dilation groups (tokens whose
positions are equal modulo the dilation) move to the front, followed by the coordinates of tiles and
those inside tiles. With `flip_tiled_dims` the first axis is the fastest of both.
"""

from collections.abc import Sequence
from math import prod

from torch import Tensor
from torch.nn import functional

Shape = tuple[int, ...]


def padding(layout: Sequence[int], tile: Sequence[int], dilation: Sequence[int]) -> Shape:
    """Tokens missing on each axis to a multiple of tile * dilation."""
    return tuple(-n % (t * d) for n, t, d in zip(layout, tile, dilation, strict=True))


def pad(tensor: Tensor, amounts: Sequence[int]) -> Tensor:
    """Appends zeros at the ends of the axes."""
    if not any(amounts):
        return tensor
    flat = [0, 0, 0, 0]
    for n in reversed(amounts):
        flat += [0, n]
    return functional.pad(tensor, flat)


def rest(layout: Sequence[int], tile: Sequence[int], dilation: Sequence[int]) -> Shape:
    """Number of tiles along each axis of a padded layout."""
    return tuple(n // (t * d) for n, t, d in zip(layout, tile, dilation, strict=True))


def _order(na_dim: int, flip: bool) -> list[int]:
    """Dimensions of [B, (rest, tile, dilation)..., H, D] in permuted order, without heads and
    channels: batch, dilation groups, tiles, positions in tiles."""
    axes = range(na_dim)
    tiled = [*reversed(axes)] if flip else [*axes]
    groups = [3 + 3 * a for a in axes]
    return [0, *groups, *(1 + 3 * a for a in tiled), *(2 + 3 * a for a in tiled)]


def permute(tensor: Tensor, tile: Shape, dilation: Shape, flip: bool) -> Tensor:
    """Permutes a padded tensor to [B, groups, tokens per group, H, D]."""
    na_dim = len(tile)
    batch, *layout, heads, dim = tensor.shape
    parts = zip(rest(layout, tile, dilation), tile, dilation, strict=True)
    split = tensor.reshape(batch, *(n for part in parts for n in part), heads, dim)
    ordered = split.permute(*_order(na_dim, flip), -2, -1)
    return ordered.reshape(batch, prod(dilation), -1, heads, dim)


def unpermute(tensor: Tensor, counts: Shape, tile: Shape, dilation: Shape, flip: bool) -> Tensor:
    """Inverts :func:`permute`: [B, padded axes..., H, D] with `counts` tiles per axis."""
    na_dim = len(tile)
    batch, _, _, heads, dim = tensor.shape
    sizes = [batch, *(n for part in zip(counts, tile, dilation, strict=True) for n in part)]
    order = _order(na_dim, flip)
    split = tensor.reshape(*(sizes[i] for i in order), heads, dim)
    back = [order.index(i) for i in range(len(order))]
    layout = (n * t * d for n, t, d in zip(counts, tile, dilation, strict=True))
    return split.permute(*back, -2, -1).reshape(batch, *layout, heads, dim)
