# SPDX-License-Identifier: MIT
"""Split neighborhood attention of NATTEN 0.14, heads first and without scaling.

Releases before 0.14.6 do not pass a kernel size everywhere. Here it is None in such a call, and
follows from the shape of the bias or of the attention weights.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from natten_mps import ops
from natten_mps._carriers import guard

from .. import _served
from .._common import split, transposed
from .._common.ranked import ranked

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


def _of_bias(rpb: Tensor | None, kernel_size: int | None) -> int:
    if kernel_size is not None:
        return kernel_size
    if rpb is None:
        raise RuntimeError("rpb is None, which leaves the kernel size unknown; pass a bias.")
    return (rpb.shape[-1] + 1) // 2


def _of_weights(rank: int, attn: Tensor, kernel_size: int | None) -> int:
    return round(attn.shape[-1] ** (1 / rank)) if kernel_size is None else kernel_size


def _qk_function(rank: int) -> Any:
    def compute(
        query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: int | None, dilation: int
    ) -> Tensor:
        window = _window(rank, _of_bias(rpb, kernel_size), dilation)
        return split.qk(query, key, rpb, None, window)

    return split.named_function(f"NATTEN{rank}DQKRPBFunction", __name__, compute)


def _av_function(rank: int) -> Any:
    def compute(attn: Tensor, value: Tensor, kernel_size: int | None, dilation: int) -> Tensor:
        window = _window(rank, _of_weights(rank, attn, kernel_size), dilation)
        return split.av(attn, value, None, window)

    return split.named_function(f"NATTEN{rank}DAVFunction", __name__, compute)


NATTEN1DQKRPBFunction, NATTEN2DQKRPBFunction = map(_qk_function, (1, 2))
NATTEN1DAVFunction, NATTEN2DAVFunction = map(_av_function, (1, 2))


def _check(rank: int, query: Tensor, key: Tensor, kernel_size: int, dilation: int) -> int:
    """Checks two tensors of the same layout; returns the dilation to use."""
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
    """Whether autocast will cast the operation's inputs to one dtype."""
    return torch.is_autocast_enabled(tensor.device.type)


def _type_mismatch(wanted: Tensor, given: Tensor) -> str:
    names = [_SCALAR_TYPES.get(t.dtype, str(t.dtype)) for t in (wanted, given)]
    return f"expected scalar type {names[0]} but found {names[1]}"


def _qkrpb(rank: int) -> Callable[..., Tensor]:
    function = {1: NATTEN1DQKRPBFunction, 2: NATTEN2DQKRPBFunction}[rank]

    def qkrpb(
        query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: int, dilation: int
    ) -> Tensor:
        """Logits [B, H, axes..., K**rank] of query and key [B, H, axes..., D], plus rpb
        [H, 2K-1, ...] if not None."""
        if rank == 2:
            query, key = transposed.query_and_key(query, key, rpb)
        kernel_size = _of_bias(rpb, kernel_size)
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

    return qkrpb


def _plain_qk(rank: int) -> Callable[..., Tensor]:
    qkrpb = {1: natten1dqkrpb, 2: natten2dqkrpb}[rank]

    def qk(query: Tensor, key: Tensor, kernel_size: int, dilation: int) -> Tensor:
        """Logits [B, H, axes..., K**rank] of query and key [B, H, axes..., D]."""
        logits: Tensor = qkrpb(query, key, None, kernel_size, dilation)
        return logits

    return qk


def _av(rank: int) -> Callable[..., Tensor]:
    function = {1: NATTEN1DAVFunction, 2: NATTEN2DAVFunction}[rank]

    def av(attn: Tensor, value: Tensor, kernel_size: int, dilation: int) -> Tensor:
        """Weights [B, H, axes..., K**rank] applied to value: [B, H, axes..., D], like value."""
        if rank == 2:
            value = transposed.values(attn, value)
        kernel_size = _of_weights(rank, attn, kernel_size)
        dilation = _check(rank, attn, value, kernel_size, dilation)
        if attn.shape[-1] != kernel_size**rank:
            raise RuntimeError(
                f"attn has {attn.shape[-1]} weights per token, which is kernel size "
                f"{attn.shape[-1] ** (1 / rank):.3g}, but {kernel_size=}."
            )
        if split.traced():
            out: Tensor = function.apply(attn, value, kernel_size, dilation)
            return out
        return split.av(attn, value, None, _window(rank, kernel_size, dilation))

    return av


natten1dqkrpb, natten2dqkrpb = ranked("natten{}dqkrpb", _qkrpb, (1, 2))
natten1dqk, natten2dqk = ranked("natten{}dqk", _plain_qk, (1, 2))
natten1dav, natten2dav = ranked("natten{}dav", _av, (1, 2))

guard(globals())
_served.fill(_served.literal("v014"), "natten.functional", globals())
