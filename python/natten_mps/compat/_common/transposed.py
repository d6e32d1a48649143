# SPDX-License-Identifier: MIT
"""A layout that only ``transformers`` uses: since version 5 its DiNAT passes [B, Y, X, H, D], a
transposed view of [B, X, Y, H, D], to `natten2dqkrpb` and `natten2dav`, while every NATTEN expects
[B, H, X, Y, D].

Shapes distinguish the two unless Y happens to equal H. In that case the strides decide: in such a
view heads vary faster than Y, and Y faster than X. No tensor with heads in dimension 1 has these
strides, whether it is contiguous or a permuted view of [B, X, Y, H, D].
"""

from torch import Tensor


def query_and_key(query: Tensor, key: Tensor, rpb: Tensor | None) -> tuple[Tensor, Tensor]:
    """Returns both with heads first; the bias [H, ...] gives the number of heads."""
    if rpb is None or query.dim() != 5 or query.shape[3] != rpb.shape[0]:
        return query, key
    if query.shape[1] == rpb.shape[0] and not _heads_vary_fastest(query):
        return query, key
    return _heads_first(query), _heads_first(key)


def values(attn: Tensor, value: Tensor) -> Tensor:
    """Returns value with heads first, like attn [B, H, X, Y, K*K]."""
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
    """Transposes [B, Y, X, H, D] to [B, H, X, Y, D]."""
    return tensor.permute(0, 3, 2, 1, 4)
