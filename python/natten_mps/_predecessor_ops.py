# SPDX-License-Identifier: MIT
"""torch.ops.natten_mps.na{1,2,3}d_{qk,av,fwd,varlen_fwd}, natten-mps 0.3.3's names.

Each calls the function of natten_mps.functional, so autograd, meta tensors and compilers see
the operations of _torch_ops underneath.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from . import _namespace

_LIBRARY = _namespace.extend()
_QKV = "Tensor query, Tensor key, Tensor value"
_RULE = "int[] kernel_size, int[] dilation, int[] stride, bool[] is_causal"
_SIZES = {1: "seq_lens", 2: "spatial_sizes", 3: "spatial_sizes"}


def register(
    rank: int,
    qk: Callable[..., Tensor],
    av: Callable[..., Tensor],
    fused: Callable[..., Any],
    varlen: Callable[..., Any],
) -> None:
    """Register the four operations of a rank, implemented by its public functions."""
    sizes = f"Tensor {_SIZES[rank]}, int[] kernel_size, int[] dilation, float? scale"
    fused_rule = "int[] kernel_size, int[] stride, int[] dilation, bool[] is_causal, float? scale"

    def run_qk(query: Any, key: Any, kernel: Any, dilation: Any, stride: Any, *rest: Any) -> Tensor:
        causal, scale = rest
        return qk(query, key, kernel, dilation, stride=stride, is_causal=causal, scale=scale)

    def run_av(attn: Any, value: Any, kernel: Any, dilation: Any, *rest: Any) -> Tensor:
        stride, causal = rest
        return av(attn, value, kernel, dilation, stride=stride, is_causal=causal)

    for name, arguments, run in (
        ("qk", f"Tensor query, Tensor key, {_RULE}, float? scale", run_qk),
        ("av", f"Tensor attn, Tensor value, {_RULE}", run_av),
        ("fwd", f"{_QKV}, {fused_rule}", fused),
        ("varlen_fwd", f"{_QKV}, {sizes}", varlen),
    ):
        _LIBRARY.define(f"na{rank}d_{name}({arguments}) -> Tensor")
        _LIBRARY.impl(f"na{rank}d_{name}", run, "CompositeImplicitAutograd")
