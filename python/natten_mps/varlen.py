# SPDX-License-Identifier: MIT
"""Fused attention on samples of different sizes: padded, or packed one behind the other."""

import torch
from torch import Tensor

from . import checks, ops
from .utils.params import Bools, Ints, make_window

Result = Tensor | tuple[Tensor, Tensor]


def _varlen(
    rank: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sizes: Tensor,
    kernel_size: Ints,
    dilation: Ints,
    scale: float | None,
    stride: Ints,
    is_causal: Bools,
    return_lse: bool,
    additional_keys: Tensor | None,
    additional_values: Tensor | None,
) -> Result:
    name = f"na{rank}d_varlen"
    checks.tensors(name, query=query, key=key, value=value)
    window = make_window(rank, kernel_size, dilation, stride, is_causal)
    checks.varlen(name, query.shape, key.shape, value.shape, window)
    checks.additional(query, value, additional_keys, additional_values)
    attend = ops.attn if return_lse else ops.attn_out
    return attend(
        query,
        key,
        value,
        window=window,
        scale=scale,
        extra_key=additional_keys,
        extra_value=additional_values,
        sizes=checks.sizes(sizes, query.shape[0], query.shape[1:-2], window),
    )


def na1d_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_lens: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: float | None = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
) -> Result:
    """na1d on a padded batch whose samples have the sizes seq_lens, int32 or int64 `[B]`.

    Each sample is computed as if it were alone and not padded. Padding is never seen; outputs and
    gradients there are 0, and lse is -inf. Otherwise as na1d.
    """
    return _varlen(
        1,
        query,
        key,
        value,
        seq_lens,
        kernel_size,
        dilation,
        scale,
        stride,
        is_causal,
        return_lse,
        additional_keys,
        additional_values,
    )


def na2d_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spatial_sizes: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: float | None = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
) -> Result:
    """na2d on a padded batch whose samples have the sizes spatial_sizes, int32 or int64 `[B, 2]`.

    Each sample is computed as if it were alone and not padded. Padding is never seen; outputs and
    gradients there are 0, and lse is -inf. Otherwise as na2d.
    """
    return _varlen(
        2,
        query,
        key,
        value,
        spatial_sizes,
        kernel_size,
        dilation,
        scale,
        stride,
        is_causal,
        return_lse,
        additional_keys,
        additional_values,
    )


def na3d_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    spatial_sizes: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: float | None = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
) -> Result:
    """na3d on a padded batch whose samples have the sizes spatial_sizes, int32 or int64 `[B, 3]`.

    Each sample is computed as if it were alone and not padded. Padding is never seen; outputs and
    gradients there are 0, and lse is -inf. Otherwise as na3d.
    """
    return _varlen(
        3,
        query,
        key,
        value,
        spatial_sizes,
        kernel_size,
        dilation,
        scale,
        stride,
        is_causal,
        return_lse,
        additional_keys,
        additional_values,
    )


def na1d_packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cumulative_lens: Tensor,
    kernel_size: Ints,
    dilation: Ints = 1,
    scale: float | None = None,
    *,
    stride: Ints = 1,
    is_causal: Bools = False,
    return_lse: bool = False,
) -> Result:
    """na1d on sequences that stand one behind the other, without padding between them.

    query `[total, heads, dim]`, key and value `[total, kv_heads, ...]`; cumulative_lens
    `[B + 1]`, int32 or int64: sequence b is at `cumulative_lens[b] : cumulative_lens[b + 1]`.
    Returns out `[sum of ceil(length / stride), heads, value_dim]`, with return_lse also lse.
    """
    checks.tensors("na1d_packed", query=query, key=key, value=value)
    begins, lens = checks.packed(query.shape, key.shape, value.shape, cumulative_lens)
    longest = int(lens.max()) if len(lens) else 0
    step = stride if isinstance(stride, int) else stride[0]
    place = torch.arange(longest, device=begins.device)
    index = (begins[:, None] + place).clamp(max=len(query) - 1).to(query.device)
    out, lse = _varlen(
        1,
        query[index],
        key[index],
        value[index],
        lens,
        kernel_size,
        dilation,
        scale,
        stride,
        is_causal,
        True,
        None,
        None,
    )
    kept = (place[None, ::step] < lens[:, None]).to(query.device)
    return (out[kept], lse[kept]) if return_lse else out[kept]
