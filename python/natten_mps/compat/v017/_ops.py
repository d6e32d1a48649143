# SPDX-License-Identifier: MIT
"""Attention to additional tokens, and merging of two attentions."""

from typing import Any

import torch
from torch import Tensor

from natten_mps import merge

from .._common import cross
from .._common.attention import attention
from .._common.modules import default_scale
from ._fused import check_xformers

qk_cross_forward = cross.qk_cross_forward
qk_cross_backward = cross.qk_cross_backward
av_cross_forward = cross.av_cross_forward
av_cross_backward = cross.av_cross_backward


def additional_sdpa(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float | None = None,
    attn_kwargs: dict[str, Any] | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention of query [B, axes..., H, D] to key and value [B, T, H, D]: output and lse."""
    check_xformers(attn_kwargs)
    layout = query.shape[1:-2]
    scale = default_scale(scale)
    out, lse = attention(query.flatten(1, -3), key, value, scale, False)
    return torch.unflatten(out, 1, layout), torch.unflatten(lse, 1, layout)


def merge_attentions(
    output_fna: Tensor, output_sdpa: Tensor, lse_fna: Tensor, lse_sdpa: Tensor
) -> Tensor:
    """Output [B, axes..., H, D] of one softmax over the keys of both attentions."""
    out, _ = merge.merge_attentions([output_fna, output_sdpa], [lse_fna, lse_sdpa])
    return out
