# SPDX-License-Identifier: MIT
"""``natten.backends``' entry points that are not CUDA kernels."""

from typing import Any

from torch import Tensor

from . import attend

Result = Tensor | tuple[Tensor, Tensor]


def flex_fna_generic(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Any,
    stride: Any = 1,
    dilation: Any = 1,
    is_causal: Any = False,
    scale: float | None = None,
    q_tile_shape: Any = None,
    kv_tile_shape: Any = None,
    torch_compile: bool = False,
    return_lse: bool = False,
) -> Result:
    """As `neighborhood_attention_generic` with the backend "flex-fna"."""
    where = (kernel_size, stride, dilation, is_causal)
    steering = attend.Steering(None, "flex-fna", q_tile_shape, kv_tile_shape, None)
    result = attend.neighborhood_attention(query, key, value, where, scale, (None, None), steering)
    return result if return_lse else result[0]


def reference_fna_generic(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: Any,
    stride: Any = 1,
    dilation: Any = 1,
    is_causal: Any = False,
    scale: float | None = None,
    additional_keys: Tensor | None = None,
    additional_values: Tensor | None = None,
    return_lse: bool = False,
) -> Result:
    """As `neighborhood_attention_generic`."""
    where = (kernel_size, stride, dilation, is_causal)
    additional = (additional_keys, additional_values)
    steering = attend.Steering(None, None, None, None, None)
    result = attend.neighborhood_attention(query, key, value, where, scale, additional, steering)
    return result if return_lse else result[0]
