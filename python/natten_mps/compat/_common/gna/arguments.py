# SPDX-License-Identifier: MIT
"""Checks of arguments that take one value for all axes or one per axis, and of schedules and tiles.
The latter are checked like upstream does, although there are no CUDA kernels for them here."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from natten_mps._operation import ATTN
from natten_mps.ops import Window

from ..dialect import GENERALIZED
from ..split import window as make_window
from ..types import CausalArgType, DimensionType, KernelSchedule
from ..windows import Windows

_SCHEDULES = {
    "non": KernelSchedule.NonPersistent,
    "coop": KernelSchedule.WarpSpecializedCooperative,
    "pp": KernelSchedule.WarpSpecializedPingpong,
}


def check_kernel_schedule(kernel_schedule: Any) -> KernelSchedule | None:
    """Returns the schedule for None, a schedule or its short name."""
    if kernel_schedule is None or isinstance(kernel_schedule, KernelSchedule):
        return kernel_schedule
    if isinstance(kernel_schedule, str) and kernel_schedule in _SCHEDULES:
        return _SCHEDULES[kernel_schedule]
    raise ValueError(
        f"Kernel schedule {kernel_schedule} is invalid; choices are: `non` (non-persistent), "
        "`coop` (warp-specialized cooperative), and `pp` (warp-specialized ping-ponging)."
    )


def _per_axis(
    na_dim: int, name: str, value: Any, kind: type, least: int, words: str
) -> tuple[Any, ...]:
    def fits(x: Any) -> bool:
        return isinstance(x, kind) and bool(x >= least)  # type: ignore[operator]

    if fits(value):
        return (value,) * na_dim
    if isinstance(value, Sequence) and len(value) == na_dim and all(fits(x) for x in value):
        return tuple(value)
    raise ValueError(
        f"Invalid value for `{name}`; expected {words}, got type({name})={type(value)}, "
        f"{name}={value!r}."
    )


def check_kernel_size_arg(na_dim: int, kernel_size: Any) -> DimensionType:
    """Returns the kernel size per axis, 2 or more."""
    words = "an integer or iterable of integers, all >= 2"
    return _dimension(_per_axis(na_dim, "kernel_size", kernel_size, int, 2, words))


def check_input_size_arg(na_dim: int, input_size: Any) -> DimensionType:
    """Returns the length per axis, 2 or more."""
    words = "an integer or iterable of integers, all >= 2"
    return _dimension(_per_axis(na_dim, "input_size", input_size, int, 2, words))


def check_stride_arg(na_dim: int, stride: Any) -> DimensionType:
    """Returns the stride per axis; None means 1."""
    return _positive(na_dim, "stride", stride)


def check_dilation_arg(na_dim: int, dilation: Any) -> DimensionType:
    """Returns the dilation per axis; None means 1."""
    return _positive(na_dim, "dilation", dilation)


def _positive(na_dim: int, name: str, value: Any) -> DimensionType:
    words = "an integer or tuple of positive integers"
    value = 1 if value is None else value
    return _dimension(_per_axis(na_dim, name, value, int, 1, words))


def _dimension(values: tuple[Any, ...]) -> DimensionType:
    return values


def check_causal_arg(na_dim: int, is_causal: Any) -> CausalArgType:
    """Returns causality per axis; None means False."""
    value = False if is_causal is None else is_causal
    words = "a boolean or tuple of booleans"
    return _per_axis(na_dim, "is_causal", value, bool, 0, words)


def check_all_args(
    na_dim: int, kernel_size: Any, stride: Any, dilation: Any, is_causal: Any
) -> tuple[DimensionType, DimensionType, DimensionType, CausalArgType]:
    """Returns kernel size, stride, dilation and causality per axis."""
    return (
        check_kernel_size_arg(na_dim, kernel_size),
        check_stride_arg(na_dim, stride),
        check_dilation_arg(na_dim, dilation),
        check_causal_arg(na_dim, is_causal),
    )


@Windows
def window(na_dim: int, *arguments: Any) -> Window:
    """The window for kernel_size, stride, dilation and is_causal."""
    kernel, stride, dilation, causal = check_all_args(na_dim, *arguments)
    return make_window(kernel, dilation, causal, stride)


def check_args_against_input(
    input_tensor: Tensor,
    kernel_size: DimensionType,
    stride: DimensionType,
    dilation: DimensionType,
    is_causal: CausalArgType,
) -> None:
    """Checks that windows fit the input [B, axes..., H, D] and strides fit windows."""
    where = make_window(kernel_size, dilation, is_causal, stride)
    inputs = (input_tensor, input_tensor, input_tensor, None, None, None)
    GENERALIZED.check(ATTN, inputs, where)


# Allowed keys of `attention_kwargs`: the parameters of `attention` that tune kernels.
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


def check_steering(
    query: Tensor,
    attention_kwargs: dict[str, Any] | None,
    backend: Any,
    q_tile_shape: Any,
    kv_tile_shape: Any,
    kernel_schedule: Any,
) -> None:
    """Checks the arguments of `na*d` that select and tune CUDA kernels."""
    check_backend(backend)
    check_kernel_schedule(kernel_schedule)
    if query.dim() in (4, 5, 6):
        check_tiles(query.dim() - 3, backend, q_tile_shape, kv_tile_shape)
    kwargs = {} if attention_kwargs is None else attention_kwargs
    unknown = sorted(kwargs.keys() - _ATTENTION_KWARGS)
    if unknown:
        raise TypeError(
            f"attention_kwargs may have the keys {sorted(_ATTENTION_KWARGS)}, got {unknown}."
        )
    names = ("backend", "q_tile_size", "kv_tile_size", "kernel_schedule")
    check_fmha_steering(*map(kwargs.get, names))


def check_tile_shape(tile_shape: Any) -> tuple[Any, ...]:
    """Checks a tile of up to three axes."""
    if (
        isinstance(tile_shape, Sequence)
        and len(tile_shape) <= 3
        and all(isinstance(x, int) for x in tile_shape)
    ):
        return tuple(tile_shape)
    raise ValueError(
        "Unsupported value for tile shape; expected an iterable of at most 3 integers, got "
        f"type(tile_shape)={type(tile_shape)}, {tile_shape}."
    )


def is_self_attention(
    input_tensor: Tensor,
    kernel_size: DimensionType,
    is_causal: CausalArgType,
    has_additional_attention: bool,
) -> bool:
    """Whether windows cover the whole layout, so that full attention gives the same result."""
    lengths = tuple(input_tensor.shape[1 : 1 + len(kernel_size)])
    if tuple(kernel_size) != lengths:
        return False
    return not any(is_causal) or (len(lengths) == 1 and not has_additional_attention)


FLEX_TILES: dict[int, list[tuple[Any, Any]]] = {
    1: [((64,), (64,))],
    2: [((8, 8), (8, 8)), ((4, 16), (4, 16)), ((4, 16), (8, 8))],
    3: [((4, 4, 4), (4, 4, 4)), ((2, 4, 8), (2, 4, 8)), ((2, 4, 8), (4, 4, 4))],
}


def check_tiles(na_dim: int, backend: str | None, q_tile_shape: Any, kv_tile_shape: Any) -> None:
    """Checks that both tiles or neither are given, and those of "flex-fna" against its list. The
    lists of other backends belong to CUDA kernels, so any tile with the right rank is accepted."""
    if (q_tile_shape is None) != (kv_tile_shape is None):
        raise ValueError(
            "Please specify both q_tile_shape and kv_tile_shape, or neither one. Got "
            f"{q_tile_shape=}, {kv_tile_shape=}."
        )
    if q_tile_shape is None:
        return
    tiles = check_tile_shape(q_tile_shape), check_tile_shape(kv_tile_shape)
    if backend == "flex-fna" and tiles not in FLEX_TILES[na_dim]:
        raise ValueError(
            f"Invalid configuration for Flex FNA-{na_dim}D. Q tile shape {tiles[0]} and KV tile "
            f"shape {tiles[1]} are not among {FLEX_TILES[na_dim]}."
        )
    if any(len(tile) != na_dim or min(tile) < 1 for tile in tiles):
        raise ValueError(
            f"Invalid configuration for FNA-{na_dim}D: expected {na_dim} positive integers in "
            f"each tile, got {q_tile_shape=}, {kv_tile_shape=}."
        )


def check_tile_sizes(q_tile_size: Any, kv_tile_size: Any) -> None:
    """Checks tiles of full attention: both or neither, and positive."""
    if (q_tile_size is None) != (kv_tile_size is None):
        raise ValueError(
            "Please specify both q_tile_size and kv_tile_size, or neither one. Got "
            f"{q_tile_size=}, {kv_tile_size=}."
        )
    if q_tile_size is not None and not all(
        isinstance(x, int) and x > 0 for x in (q_tile_size, kv_tile_size)
    ):
        raise ValueError(
            "Invalid configuration for FMHA: tile sizes must be positive integers, got "
            f"{q_tile_size=}, {kv_tile_size=}."
        )


BACKENDS = ("blackwell-fna", "hopper-fna", "cutlass-fna", "flex-fna")
FMHA_BACKENDS = ("blackwell-fmha", "hopper-fmha", "cutlass-fmha", "flex-fmha")


def check_backend(backend: Any) -> None:
    """Checks for None or one of upstream's names, which all compute the same here."""
    if backend and backend not in BACKENDS:
        raise NotImplementedError(f"Unrecognized NATTEN backend {backend}.")


def check_fmha_backend(backend: Any) -> None:
    """Checks for None or one of upstream's names, which all compute the same here."""
    if backend and backend not in FMHA_BACKENDS:
        raise NotImplementedError(f"Unrecognized NATTEN FMHA backend {backend}.")


def check_fmha_steering(
    backend: Any, q_tile_size: Any, kv_tile_size: Any, kernel_schedule: Any
) -> None:
    """Checks the arguments of `attention` that select and tune CUDA kernels."""
    check_fmha_backend(backend)
    check_tile_sizes(q_tile_size, kv_tile_size)
    check_kernel_schedule(kernel_schedule)
