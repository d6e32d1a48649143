# SPDX-License-Identifier: MIT
"""Split neighborhood attention of NATTEN 0.15, heads first and without scaling.

`additional_keys` and `additional_values` [B, H, T, D] are tokens that every query sees; their T
logits follow those of the window. With one or two axes a window is (kernel_size, dilation), with
three it is (kernel_size_d, kernel_size, dilation_d, dilation).
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from natten_mps import ops
from natten_mps._carriers import guard

from .. import _served
from .._common import checked, split, transposed
from .._common.ranked import RANKS, ranked

MaybeTensor = Tensor | None


def _planar(rank: int, kernel_size: int, dilation: int) -> ops.Window:
    return split.window((kernel_size,) * rank, (dilation,) * rank)


def _deep(kernel_size_d: int, kernel_size: int, dilation_d: int, dilation: int) -> ops.Window:
    return split.window((kernel_size_d, kernel_size, kernel_size), (dilation_d, dilation, dilation))


def _qk_function(rank: int) -> Any:
    def planar(
        query: Tensor, key: Tensor, bias: MaybeTensor, additional_key: MaybeTensor,
        kernel_size: int, dilation: int,
    ) -> Tensor:  # fmt: skip
        return split.qk(query, key, bias, additional_key, _planar(rank, kernel_size, dilation))

    def deep(
        query: Tensor, key: Tensor, bias: MaybeTensor, additional_key: MaybeTensor,
        kernel_size_d: int, kernel_size: int, dilation_d: int, dilation: int,
    ) -> Tensor:  # fmt: skip
        window = _deep(kernel_size_d, kernel_size, dilation_d, dilation)
        return split.qk(query, key, bias, additional_key, window)

    name = f"NeighborhoodAttention{rank}DQKAutogradFunction"
    return split.named_function(name, __name__, deep if rank == 3 else planar)


def _av_function(rank: int) -> Any:
    def planar(
        attn: Tensor, value: Tensor, additional_value: MaybeTensor, kernel_size: int, dilation: int
    ) -> Tensor:
        return split.av(attn, value, additional_value, _planar(rank, kernel_size, dilation))

    def deep(
        attn: Tensor, value: Tensor, additional_value: MaybeTensor,
        kernel_size_d: int, kernel_size: int, dilation_d: int, dilation: int,
    ) -> Tensor:  # fmt: skip
        window = _deep(kernel_size_d, kernel_size, dilation_d, dilation)
        return split.av(attn, value, additional_value, window)

    name = f"NeighborhoodAttention{rank}DAVAutogradFunction"
    return split.named_function(name, __name__, deep if rank == 3 else planar)


_QK = {rank: _qk_function(rank) for rank in RANKS}
_AV = {rank: _av_function(rank) for rank in RANKS}
NeighborhoodAttention1DQKAutogradFunction = _QK[1]
NeighborhoodAttention2DQKAutogradFunction = _QK[2]
NeighborhoodAttention3DQKAutogradFunction = _QK[3]
NeighborhoodAttention1DAVAutogradFunction = _AV[1]
NeighborhoodAttention2DAVAutogradFunction = _AV[2]
NeighborhoodAttention3DAVAutogradFunction = _AV[3]


def _check_kernel(kernel: Sequence[int]) -> None:
    for k in kernel:
        if k <= 1 or k % 2 == 0:
            raise RuntimeError(f"Kernel size must be an odd number greater than 1, got {k}.")


def _call(functions: dict[int, Any], rank: int, *sizes: int) -> checked.Call:
    window = _deep(*sizes) if rank == 3 else _planar(rank, *sizes)
    return checked.Call(functions[rank], sizes, window, _check_kernel)


def _qk_with_bias(rank: int) -> Callable[..., Tensor]:
    def qk_with_bias(
        query: Tensor, key: Tensor, bias: MaybeTensor, kernel_size: int, dilation: int,
        additional_keys: MaybeTensor = None,
    ) -> Tensor:  # fmt: skip
        """Logits [B, H, axes..., K**rank + T] of query and key [B, H, axes..., D], plus bias
        [H, 2K-1, ...] if not None."""
        call = _call(_QK, rank, kernel_size, dilation)
        return checked.qk(call, query, key, bias, additional_keys)

    return qk_with_bias


def _qk(rank: int) -> Callable[..., Tensor]:
    def qk(
        query: Tensor, key: Tensor, kernel_size: int, dilation: int,
        additional_keys: MaybeTensor = None,
    ) -> Tensor:  # fmt: skip
        """Logits [B, H, axes..., K**rank + T] of query and key [B, H, axes..., D]."""
        call = _call(_QK, rank, kernel_size, dilation)
        return checked.qk(call, query, key, None, additional_keys)

    return qk


def _av(rank: int) -> Callable[..., Tensor]:
    def av(
        attn: Tensor, value: Tensor, kernel_size: int, dilation: int,
        additional_values: MaybeTensor = None,
    ) -> Tensor:  # fmt: skip
        """Weights [B, H, axes..., K**rank + T] applied to value: [B, H, axes..., D], like value."""
        return checked.av(_call(_AV, rank, kernel_size, dilation), attn, value, additional_values)

    return av


na1d_qk_with_bias, na2d_qk_with_bias = ranked("na{}d_qk_with_bias", _qk_with_bias, (1, 2))
na1d_qk, na2d_qk = ranked("na{}d_qk", _qk, (1, 2))
na1d_av, na2d_av = ranked("na{}d_av", _av, (1, 2))


def na3d_qk_with_bias(
    query: Tensor, key: Tensor, bias: MaybeTensor, kernel_size_d: int, kernel_size: int,
    dilation_d: int, dilation: int, additional_keys: MaybeTensor = None,
) -> Tensor:  # fmt: skip
    """Logits [B, H, Z, X, Y, Kd*K*K + T] of query and key [B, H, Z, X, Y, D], plus bias."""
    call = _call(_QK, 3, kernel_size_d, kernel_size, dilation_d, dilation)
    return checked.qk(call, query, key, bias, additional_keys)


def na3d_qk(
    query: Tensor, key: Tensor, kernel_size_d: int, kernel_size: int, dilation_d: int,
    dilation: int, additional_keys: MaybeTensor = None,
) -> Tensor:  # fmt: skip
    """Logits [B, H, Z, X, Y, Kd*K*K + T] of query and key [B, H, Z, X, Y, D]."""
    call = _call(_QK, 3, kernel_size_d, kernel_size, dilation_d, dilation)
    return checked.qk(call, query, key, None, additional_keys)


def na3d_av(
    attn: Tensor, value: Tensor, kernel_size_d: int, kernel_size: int, dilation_d: int,
    dilation: int, additional_values: MaybeTensor = None,
) -> Tensor:  # fmt: skip
    """Weights [B, H, Z, X, Y, Kd*K*K + T] applied to value [B, H, Z, X, Y, D]."""
    call = _call(_AV, 3, kernel_size_d, kernel_size, dilation_d, dilation)
    return checked.av(call, attn, value, additional_values)


def natten1dqkrpb(
    query: Tensor, key: Tensor, rpb: MaybeTensor, kernel_size: int, dilation: int
) -> Tensor:
    """Same as :func:`na1d_qk_with_bias`, under its name in 0.14."""
    logits: Tensor = na1d_qk_with_bias(query, key, rpb, kernel_size, dilation)
    return logits


def natten2dqkrpb(
    query: Tensor, key: Tensor, rpb: MaybeTensor, kernel_size: int, dilation: int
) -> Tensor:
    """Same as :func:`na2d_qk_with_bias`, under its name in 0.14."""
    query, key = transposed.query_and_key(query, key, rpb)
    logits: Tensor = na2d_qk_with_bias(query, key, rpb, kernel_size, dilation)
    return logits


def natten3dqkrpb(
    query: Tensor, key: Tensor, rpb: MaybeTensor, kernel_size_d: int, kernel_size: int,
    dilation_d: int, dilation: int,
) -> Tensor:  # fmt: skip
    """Same as :func:`na3d_qk_with_bias`, in the naming style of 0.14."""
    return na3d_qk_with_bias(query, key, rpb, kernel_size_d, kernel_size, dilation_d, dilation)


def natten2dav(
    attn: Tensor, value: Tensor, kernel_size: int, dilation: int,
    additional_values: MaybeTensor = None,
) -> Tensor:  # fmt: skip
    """Same as :func:`na2d_av`, under its name in 0.14."""
    value = transposed.values(attn, value)
    out: Tensor = na2d_av(attn, value, kernel_size, dilation, additional_values)
    return out


natten1dqk, natten1dav, natten2dqk, natten3dqk, natten3dav = (
    na1d_qk,
    na1d_av,
    na2d_qk,
    na3d_qk,
    na3d_av,
)


def enable_tf32() -> bool:
    """Returns False: there are no TF32 kernels to enable."""
    return False


def enable_tiled_na() -> None:
    """Does nothing: in upstream it selects among CUDA kernels."""


disable_tf32 = enable_tf32
disable_tiled_na = enable_gemm_na = disable_gemm_na = enable_tiled_na

guard(globals())
_served.fill(_served.literal("v015"), "natten.functional", globals())
