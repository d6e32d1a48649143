# SPDX-License-Identifier: MIT
"""Split neighborhood attention of NATTEN 0.14, heads first and without scaling."""

import math
from typing import Any

import torch
from torch import Tensor

from natten_mps import ops

from .._common import split, transposed

_SCALAR_TYPES = {
    torch.float32: "Float",
    torch.float64: "Double",
    torch.float16: "Half",
    torch.bfloat16: "BFloat16",
}
_TOO_SMALL = {
    1: "Input sequence length must be greater than or equal to kernel size x dilation.",
    2: "Input resolution must be greater than or equal to kernel size x dilation.",
}


def _window(rank: int, kernel_size: int, dilation: int) -> ops.Window:
    return split.window((kernel_size,) * rank, (dilation,) * rank)


NATTEN1DQKRPBFunction = split.qk_function("NATTEN1DQKRPBFunction", __name__, _window, extra=False)
NATTEN1DAVFunction = split.av_function("NATTEN1DAVFunction", __name__, _window, extra=False)
NATTEN2DQKRPBFunction = split.qk_function("NATTEN2DQKRPBFunction", __name__, _window, extra=False)
NATTEN2DAVFunction = split.av_function("NATTEN2DAVFunction", __name__, _window, extra=False)


def _check(rank: int, query: Tensor, key: Tensor, kernel_size: int, dilation: int) -> int:
    """Checks what two tensors of equal layout must satisfy; returns the dilation to use."""
    for tensor in (query, key):
        if tensor.dim() != rank + 3:
            raise RuntimeError(f"Expected {rank + 3}-D tensors, got {tensor.dim()}-D.")
    if query.dtype != key.dtype and not _autocasts(query):
        raise RuntimeError(_type_mismatch(query, key))
    if query.shape[:-1] != key.shape[:-1]:
        raise RuntimeError(f"Tensor shapes do not match: {query.shape} and {key.shape}.")
    if kernel_size < 1 or dilation < 0:
        raise RuntimeError(
            f"Kernel size must be positive and dilation nonnegative, got {kernel_size=}, "
            f"{dilation=}."
        )
    dilation = max(dilation, 1)
    if min(key.shape[2:-1]) < kernel_size * dilation:
        raise RuntimeError(_TOO_SMALL[rank])
    return dilation


def _autocasts(tensor: Tensor) -> bool:
    """Whether the operation will cast its inputs to one type."""
    return torch.is_autocast_enabled(tensor.device.type)


def _type_mismatch(wanted: Tensor, given: Tensor) -> str:
    names = [_SCALAR_TYPES.get(t.dtype, str(t.dtype)) for t in (wanted, given)]
    return f"expected scalar type {names[0]} but found {names[1]}"


def _qk(rank: int, function: Any, query: Tensor, key: Tensor, rpb: Tensor | None,
        kernel_size: int, dilation: int) -> Tensor:  # fmt: skip
    dilation = _check(rank, query, key, kernel_size, dilation)
    if rpb is not None:
        if rpb.dtype != query.dtype and not _autocasts(query):
            raise RuntimeError(_type_mismatch(query, rpb))
        want = (query.shape[1], *(2 * kernel_size - 1,) * rank)
        if rpb.shape != want:
            raise RuntimeError(
                f"rpb must have shape {want} for {want[0]} heads and kernel size "
                f"{kernel_size}, got {tuple(rpb.shape)}."
            )
    if split.traced():
        logits: Tensor = function.apply(query, key, rpb, kernel_size, dilation)
        return logits
    return split.qk(query, key, rpb, None, _window(rank, kernel_size, dilation))


def _av(rank: int, function: Any, attn: Tensor, value: Tensor, kernel_size: int,
        dilation: int) -> Tensor:  # fmt: skip
    dilation = _check(rank, attn, value, kernel_size, dilation)
    if attn.shape[-1] != kernel_size**rank:
        given = round(math.pow(attn.shape[-1], 1 / rank), 3)
        raise RuntimeError(
            f"attn has {attn.shape[-1]} weights per token, which is kernel size {given:g}, "
            f"but {kernel_size=}."
        )
    if split.traced():
        out: Tensor = function.apply(attn, value, kernel_size, dilation)
        return out
    return split.av(attn, value, None, _window(rank, kernel_size, dilation))


def natten1dqkrpb(
    query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: int, dilation: int
) -> Tensor:
    """Logits [B, H, L, K] of query and key [B, H, L, D], plus rpb [H, 2K-1] if not None."""
    return _qk(1, NATTEN1DQKRPBFunction, query, key, rpb, kernel_size, dilation)


def natten1dqk(query: Tensor, key: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Logits [B, H, L, K] of query and key [B, H, L, D]."""
    return _qk(1, NATTEN1DQKRPBFunction, query, key, None, kernel_size, dilation)


def natten1dav(attn: Tensor, value: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Weights [B, H, L, K] applied to value [B, H, L, D]: [B, H, L, D]."""
    return _av(1, NATTEN1DAVFunction, attn, value, kernel_size, dilation)


def natten2dqkrpb(
    query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: int, dilation: int
) -> Tensor:
    """Logits [B, H, X, Y, K*K] of query and key [B, H, X, Y, D], plus rpb [H, 2K-1, 2K-1]."""
    query, key = transposed.query_and_key(query, key, rpb)
    return _qk(2, NATTEN2DQKRPBFunction, query, key, rpb, kernel_size, dilation)


def natten2dqk(query: Tensor, key: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Logits [B, H, X, Y, K*K] of query and key [B, H, X, Y, D]."""
    return _qk(2, NATTEN2DQKRPBFunction, query, key, None, kernel_size, dilation)


def natten2dav(attn: Tensor, value: Tensor, kernel_size: int, dilation: int) -> Tensor:
    """Weights [B, H, X, Y, K*K] applied to value [B, H, X, Y, D]: [B, H, X, Y, D]."""
    value = transposed.values(attn, value)
    return _av(2, NATTEN2DAVFunction, attn, value, kernel_size, dilation)
