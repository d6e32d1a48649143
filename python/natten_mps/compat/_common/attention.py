# SPDX-License-Identifier: MIT
"""Full attention [B, S, H, D], expressed as neighborhood attention.

A window as long as the axis sees every key, so all backends, the log-sum-exp and all gradients come
from :mod:`natten_mps.ops`. Only different numbers of queries and keys need special handling.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from natten_mps import ops

from .split import window


def attention(
    query: Tensor, key: Tensor, value: Tensor, scale: Any, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """Output [B, Sq, H, Dv] and lse [B, Sq, H] of query [B, Sq, H, D], key [B, Skv, Hkv, D] and
    value [B, Skv, Hkv, Dv]. With a causal mask, query i sees the keys j <= i."""
    queries, keys = query.shape[1], key.shape[1]
    if queries == 0 or keys == 0:
        return _nothing(query, value)
    if is_causal:
        if queries <= keys:
            return _square(query, key[:, :queries], value[:, :queries], scale, True)
        parts = (
            _square(query[:, :keys], key, value, scale, True),
            attention(query[:, keys:], key, value, scale, False),
        )
        out, lse = zip(*parts, strict=True)
        return torch.cat(out, dim=1), torch.cat(lse, dim=1)
    if queries <= keys:
        return _square(query, key, value, scale, False)
    return _long(query, key, value, scale)


def _square(
    query: Tensor, key: Tensor, value: Tensor, scale: Any, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """For at most as many queries as keys: the window covers the first keys, and the other keys
    are additional tokens."""
    n = query.shape[1]
    extra_key, extra_value = (key[:, n:], value[:, n:]) if key.shape[1] > n else (None, None)
    return ops.attn(
        query,
        key[:, :n],
        value[:, :n],
        window=window((n,), (1,), (is_causal,)),
        scale=scale,
        extra_key=extra_key,
        extra_value=extra_value,
    )


def _long(query: Tensor, key: Tensor, value: Tensor, scale: Any) -> tuple[Tensor, Tensor]:
    """For more queries than keys: folds the sequence into groups of query heads that share a
    key-value head, each as long as the keys."""
    queries, heads = query.shape[1:3]
    keys = key.shape[1]
    folds = math.ceil(queries / keys)
    padded = functional.pad(query, (0, 0, 0, 0, 0, folds * keys - queries))
    folded = torch.unflatten(padded, 1, (folds, keys)).movedim(1, 3).flatten(2, 3)
    out, lse = ops.attn(folded, key, value, window=window((keys,), (1,), (False,)), scale=scale)
    out = torch.unflatten(out, 2, (heads, folds)).movedim(3, 1).flatten(1, 2)
    lse = torch.unflatten(lse, 2, (heads, folds)).movedim(3, 1).flatten(1, 2)
    return out[:, :queries], lse[:, :queries]


def _nothing(query: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """For no queries or no keys: output 0, lse -infinity and gradients of 0."""
    batch, queries, heads, _ = query.shape
    zero = 0 * (query.sum() + value.sum())
    out = zero + query.new_zeros(batch, queries, heads, value.shape[-1])
    lse = torch.full((batch, queries, heads), -math.inf, device=query.device)
    return out, lse
