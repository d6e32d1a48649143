# SPDX-License-Identifier: MIT
"""A layout that only ``transformers`` uses: from version 5 on its DiNAT calls
`natten2dqkrpb` and `natten2dav` with [B, Y, X, H, D], a transposed view of [B, X, Y, H, D],
where every NATTEN expects [B, H, X, Y, D].

Shapes tell the two apart, except where Y happens to equal H. There the strides decide: those
of such a view, heads varying faster than Y and Y faster than X, occur in no tensor whose second
dimension are heads, be it contiguous or a permuted view of [B, X, Y, H, D].
"""

from torch import Tensor


def query_and_key(query: Tensor, key: Tensor, rpb: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both heads first; the bias [H, ...] tells how many heads there are."""
    if rpb is None or query.dim() != 5 or query.shape[3] != rpb.shape[0]:
        return query, key
    if query.shape[1] == rpb.shape[0] and not _heads_vary_fastest(query):
        return query, key
    return _heads_first(query), _heads_first(key)


def values(attn: Tensor, value: Tensor) -> Tensor:
    """Value heads first, as attn [B, H, X, Y, K*K] is."""
    if attn.dim() != 5 or value.dim() != 5:
        return value
    batch, heads, x, y = attn.shape[:4]
    if value.shape[:4] != (batch, y, x, heads):
        return value
    if value.shape[:4] == attn.shape[:4] and not _heads_vary_fastest(value):
        return value
    return _heads_first(value)


def _heads_vary_fastest(tensor: Tensor) -> bool:
    return tensor.stride(3) < tensor.stride(1) < tensor.stride(2)


def _heads_first(tensor: Tensor) -> Tensor:
    """[B, Y, X, H, D] to [B, H, X, Y, D]."""
    return tensor.permute(0, 3, 2, 1, 4)
