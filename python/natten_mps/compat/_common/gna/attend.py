# SPDX-License-Identifier: MIT
"""The computations of 0.20 and 0.21."""

from typing import Any, NamedTuple

from torch import Tensor

from natten_mps import ops

from ..modules import default_scale
from ..split import window
from . import arguments, tensors


class Steering(NamedTuple):
    """Arguments of `na*d` that choose and steer CUDA kernels."""

    attention_kwargs: dict[str, Any] | None
    backend: str | None
    q_tile_shape: Any
    kv_tile_shape: Any
    kernel_schedule: Any


# What `attention_kwargs` may hold: the parameters of `attention` that steer kernels.
_ATTENTION_KWARGS = frozenset(
    (
        "backend",
        "q_tile_size",
        "kv_tile_size",
        "backward_q_tile_size",
        "backward_kv_tile_size",
        "backward_kv_splits",
        "backward_use_pt_reduction",
        "run_persistent_kernel",
        "kernel_schedule",
        "torch_compile",
    )
)


def _check_steering(na_dim: int, steering: Steering) -> None:
    arguments.check_backend(steering.backend)
    arguments.check_kernel_schedule(steering.kernel_schedule)
    tiles = steering.q_tile_shape, steering.kv_tile_shape
    arguments.check_tiles(na_dim, steering.backend, *tiles)
    kwargs = {} if steering.attention_kwargs is None else steering.attention_kwargs
    unknown = sorted(kwargs.keys() - _ATTENTION_KWARGS)
    if unknown:
        raise TypeError(
            f"attention_kwargs may have the keys {sorted(_ATTENTION_KWARGS)}, got {unknown}."
        )
    names = ("backend", "q_tile_size", "kv_tile_size", "kernel_schedule")
    arguments.check_fmha_steering(*map(kwargs.get, names))


def neighborhood_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    where: tuple[Any, Any, Any, Any],
    scale: float | None,
    additional: tuple[Tensor | None, Tensor | None],
    steering: Steering,
) -> tuple[Tensor, Tensor]:
    """Output and lse; `where` is kernel_size, stride, dilation, is_causal."""
    tensors.na_tensor_checks(query, key, value)
    tensors.additional_kv_tensor_checks(query, key, value, *additional)
    na_dim = query.dim() - 3
    kernel_size, stride, dilation, is_causal = arguments.check_all_args(na_dim, *where)
    arguments.check_args_against_input(query, kernel_size, stride, dilation, is_causal)
    _check_steering(na_dim, steering)
    return ops.attn(
        query,
        key,
        value,
        window=window(kernel_size, dilation, is_causal, stride),
        scale=default_scale(scale, query.shape[-1]),
        extra_key=additional[0],
        extra_value=additional[1],
    )
