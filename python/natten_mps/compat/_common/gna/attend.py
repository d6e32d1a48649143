# SPDX-License-Identifier: MIT
"""Neighborhood attention of 0.20 and 0.21."""

from typing import Any

import torch
from torch import Tensor

from natten_mps import ops
from natten_mps._layout import Misfit

from ..dialect import GENERALIZED
from ..modules import default_scale
from . import arguments, tensors

_STRIDED = torch.strided


def neighborhood_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    where: tuple[Any, Any, Any, Any],
    scale: Any,
    additional: tuple[Tensor | None, Tensor | None],
    return_lse: bool,
) -> Any:
    """Output, and lse if `return_lse`; `where` is kernel_size, stride, dilation, is_causal."""
    if not query.layout == key.layout == value.layout == _STRIDED or query.is_nested:
        tensors.check_carrier(query, key, value)
    rank = query.dim() - 3
    if rank not in (1, 2, 3):
        tensors.check_rank(query)
    window = arguments.window(rank, *where)
    attend = ops.attn if return_lse else ops.attn_out
    try:
        return attend(
            query,
            key,
            value,
            window=window,
            scale=default_scale(scale),
            extra_key=additional[0],
            extra_value=additional[1],
        )
    except Misfit as misfit:
        raise GENERALIZED.error(misfit) from None
