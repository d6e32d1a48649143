# SPDX-License-Identifier: MIT
"""Neighborhood attention of NATTEN 0.21, heads last.

`stride` makes neighboring queries share a window; there are as many outputs as queries. The
arguments from `backend` to `torch_compile` tune CUDA kernels in upstream; here they are checked and
otherwise ignored.
"""

from typing import Any

from torch import Tensor

from natten_mps._carriers import guard

from .. import _served
from .._common.attention import attention as full_attention
from .._common.gna import arguments, attend, merging, tensors, varlen
from .._common.modules import default_scale
from .._common.ranked import copies

Result = Tensor | tuple[Tensor, Tensor]


_UNSTEERED = (None,) * 5


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
    return_lse: bool = False,
) -> Result:
    """Attention of query [B, axes..., H, D], key [B, axes..., Hkv, D] and value
    [B, axes..., Hkv, Dv]; with lse [B, axes..., H] if `return_lse`."""
    steering = (attention_kwargs, backend, q_tile_shape, kv_tile_shape, kernel_schedule)
    if steering != _UNSTEERED:
        arguments.check_steering(query, *steering)
    where = (kernel_size, stride, dilation, is_causal)
    additional = (additional_keys, additional_values)
    result: Result = attend.neighborhood_attention(
        query, key, value, where, scale, additional, return_lse
    )
    return result


na1d, na2d, na3d = copies("na{}d", neighborhood_attention_generic)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_causal: bool = False,
    scale: float | None = None,
    seqlens_Q: Tensor | None = None,
    seqlens_KV: Tensor | None = None,
    cumulative_seqlen_Q: Tensor | None = None,
    cumulative_seqlen_KV: Tensor | None = None,
    max_seqlen_Q: int | None = None,
    max_seqlen_KV: int | None = None,
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
    """Full attention of query [B, Sq, H, D], key [B, Skv, Hkv, D] and value [B, Skv, Hkv, Dv]; with
    lse [B, Sq, H] if `return_lse`. If causal, query i sees the keys j <= i. With lengths [n] or
    cumulative lengths [n + 1] (int32), B is 1 and sequences are concatenated along S."""
    tensors.fmha_tensor_checks(query, key, value)
    arguments.check_fmha_steering(backend, q_tile_size, kv_tile_size, kernel_schedule)
    cumulative_Q, cumulative_KV, _, _ = varlen.varlen_tensor_checks(
        query,
        key,
        value,
        seqlens_Q,
        seqlens_KV,
        cumulative_seqlen_Q,
        cumulative_seqlen_KV,
        max_seqlen_Q,
        max_seqlen_KV,
    )
    scale = default_scale(scale)
    if cumulative_Q is None or cumulative_KV is None:
        result = full_attention(query, key, value, scale, is_causal)
    else:
        result = varlen.attention(
            query, key, value, cumulative_Q, cumulative_KV, default_scale(scale), is_causal
        )
    return result if return_lse else result[0]


def merge_attentions(
    outputs: list[Tensor],
    lse_tensors: list[Tensor],
    torch_compile: bool = True,
    use_autograd_fix: bool = True,
) -> tuple[Tensor, Tensor]:
    """Output [B, S, H, D] and lse [B, S, H] of one softmax over the keys of all attentions, given
    as two or more outputs and lses. Gradients always follow this formula."""
    return merging.merge_attentions(outputs, lse_tensors)


guard(globals())
_served.fill(_served.literal("v021"), "natten.functional", globals())
