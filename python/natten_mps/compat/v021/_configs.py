# SPDX-License-Identifier: MIT
"""Available tile shapes (only those of "flex", because there are no CUDA kernels here), and what a
backend supports."""

from collections.abc import Callable
from itertools import product
from typing import Any

from torch import Tensor

from .._common.gna import arguments, tensors

_KERNELS = ("cutlass", "cutlass_hopper", "cutlass_blackwell")
FLEX_FORWARD_TILE_SHAPES = arguments.FLEX_TILES


def _no_configs(check: Callable[..., Any]) -> Callable[..., list[Any]]:
    def configs(query: Tensor, key: Tensor, value: Tensor) -> list[Any]:
        """Returns an empty list: there are no CUDA kernels here."""
        check(query, key, value)
        return []

    return configs


def no_fna_kernel(query: Tensor, key: Tensor, value: Tensor, raise_error: bool = False) -> bool:
    """Returns False: there is no such kernel here."""
    if raise_error:
        raise RuntimeError("Can't run CUTLASS FNA; NATTEN was not built with libnatten.")
    return False


def no_fmha_kernel(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, is_varlen: bool,
    raise_error: bool = False,
) -> bool:  # fmt: skip
    """Returns False: there is no such kernel here."""
    if raise_error:
        raise RuntimeError("Can't run CUTLASS FMHA; NATTEN was not built with libnatten.")
    return False


_KINDS = {
    "fna": (tensors.na_tensor_checks, no_fna_kernel),
    "fmha": (tensors.fmha_tensor_checks, no_fmha_kernel),
}
for _kernel, (_kind, (_check, _no_kernel)) in product(_KERNELS, _KINDS.items()):
    for _name in (f"get_configs_for_{_kernel}_{_kind}", f"get_bwd_configs_for_{_kernel}_{_kind}"):
        # One function for each name, by which pickles refer to it.
        globals()[_name] = _no_configs(_check)
        globals()[_name].__name__ = globals()[_name].__qualname__ = _name
    globals()[f"can_run_{_kernel}_{_kind}"] = _no_kernel


def can_run_flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    torch_compile: bool,
    is_causal: bool = False,
    is_varlen: bool = False,
    raise_error: bool = False,
) -> bool:
    """Whether the functions of natten.backends.flex support the tensors."""
    check = tensors.fmha_tensor_checks if is_varlen else tensors.na_tensor_checks
    return check(query, key, value, raise_error=raise_error)


def get_configs_for_flex_fna(
    query: Tensor, key: Tensor, value: Tensor, torch_compile: bool = False
) -> list[tuple[Any, Any]]:
    """Pairs (q_tile_shape, kv_tile_shape) that the backend "flex-fna" accepts."""
    tensors.na_tensor_checks(query, key, value)
    return get_all_tile_shapes_forward(query)


def get_configs_for_flex_fmha(
    query: Tensor, key: Tensor, value: Tensor, torch_compile: bool = False
) -> list[tuple[int, int]]:
    """Pairs (q_tile_size, kv_tile_size) that the backend "flex-fmha" accepts."""
    tensors.fmha_tensor_checks(query, key, value)
    return get_all_tile_sizes_forward(query)


def get_all_tile_shapes_forward(input_tensor: Tensor) -> list[tuple[Any, Any]]:
    """Pairs (q_tile_shape, kv_tile_shape) for the tensor's rank."""
    return list(arguments.FLEX_TILES[input_tensor.dim() - 3])


def get_all_tile_sizes_forward(input_tensor: Tensor) -> list[tuple[int, int]]:
    """Pairs (q_tile_size, kv_tile_size)."""
    return [(64, 64)]


def get_default_forward_tile_shapes(input_tensor: Tensor) -> tuple[Any, Any]:
    """The first of :func:`get_all_tile_shapes_forward`."""
    return get_all_tile_shapes_forward(input_tensor)[0]


def get_default_forward_tile_sizes(input_tensor: Tensor) -> tuple[int, int]:
    """The first of :func:`get_all_tile_sizes_forward`."""
    return get_all_tile_sizes_forward(input_tensor)[0]


def check_flex_fna_forward_config(
    input_tensor: Tensor, q_tile_shape: Any = None, kv_tile_shape: Any = None
) -> tuple[Any, Any]:
    """Returns the pair if it is in the list, and the default for None."""
    arguments.check_tiles(input_tensor.dim() - 3, "flex-fna", q_tile_shape, kv_tile_shape)
    if q_tile_shape is None:
        return get_default_forward_tile_shapes(input_tensor)
    return tuple(q_tile_shape), tuple(kv_tile_shape)


def check_flex_fmha_forward_config(
    input_tensor: Tensor, q_tile_size: Any = None, kv_tile_size: Any = None
) -> tuple[int, int]:
    """Returns the pair, and the default for None."""
    arguments.check_tile_sizes(q_tile_size, kv_tile_size)
    if q_tile_size is None:
        return get_default_forward_tile_sizes(input_tensor)
    return q_tile_size, kv_tile_size
