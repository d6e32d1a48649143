# SPDX-License-Identifier: MIT
"""NATTEN 0.20: like 0.21, but without grouped queries and without causal or packed full attention.
Functions return outputs only."""

from typing import Any

from torch import Tensor

from natten_mps._carriers import guard

from .. import _served
from .._common.gna import tensors
from .._common.ranked import copies
from ..v021 import functional as newer

Result = newer.Result


def neighborhood_attention_generic(
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
    attention_kwargs: dict[str, Any] | None = None,
    backend: str | None = None,
    q_tile_shape: Any = None,
    kv_tile_shape: Any = None,
    backward_q_tile_shape: Any = None,
    backward_kv_tile_shape: Any = None,
    backward_kv_splits: Any = None,
    backward_use_pt_reduction: bool = False,
    run_persistent_kernel: bool = True,
    kernel_schedule: Any = None,
    torch_compile: bool = False,
    try_fuse_additional_kv: bool = False,
) -> Tensor:
    """Attention of query and key [B, axes..., H, D] and value [B, axes..., H, Dv]."""
    tensors.check_ungrouped(query, key, value, _SAME_SHAPE)
    out: Any = newer.neighborhood_attention_generic(
        query,
        key,
        value,
        kernel_size,
        stride,
        dilation,
        is_causal,
        scale,
        additional_keys,
        additional_values,
        attention_kwargs,
        backend,
        q_tile_shape,
        kv_tile_shape,
        kernel_schedule=kernel_schedule,
    )
    result: Tensor = out
    return result


_SAME_SHAPE = (
    "Neighborhood attention ops expect Q, K, and V to have the same shape (except value head dim)"
)

na1d, na2d, na3d = copies("na{}d", neighborhood_attention_generic)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float | None = None,
    backend: str | None = None,
    q_tile_size: int | None = None,
    kv_tile_size: int | None = None,
    backward_q_tile_size: int | None = None,
    backward_kv_tile_size: int | None = None,
    backward_kv_splits: int | None = None,
    backward_use_pt_reduction: bool = False,
    run_persistent_kernel: bool = True,
    kernel_schedule: Any = None,
    torch_compile: bool = False,
    return_lse: bool = False,
) -> Result:
    """Full attention of query [B, Sq, H, D], key [B, Skv, H, D] and value [B, Skv, H, Dv]; with
    lse [B, Sq, H] if `return_lse`."""
    tensors.check_ungrouped(query, key, value, "NATTEN operations do not support GQA/MQA")
    return newer.attention(
        query,
        key,
        value,
        scale=scale,
        backend=backend,
        q_tile_size=q_tile_size,
        kv_tile_size=kv_tile_size,
        kernel_schedule=kernel_schedule,
        return_lse=return_lse,
    )


def merge_attentions(
    outputs: list[Tensor], lse_tensors: list[Tensor], torch_compile: bool = True
) -> Tensor:
    """Output [B, S, H, D] of one softmax over the keys of all attentions, given as two or more
    outputs [B, S, H, D] and lses [B, S, H]."""
    return newer.merge_attentions(outputs, lse_tensors)[0]


guard(globals())
_served.fill(_served.literal("v020"), "natten.functional", globals())
