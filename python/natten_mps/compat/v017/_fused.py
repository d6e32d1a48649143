# SPDX-License-Identifier: MIT
"""The fused operations, heads last, and their autograd functions."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from natten_mps import ops
from natten_mps._layout import Misfit

from .._common import split
from .._common.dialect import EXTENSION
from .._common.modules import default_scale
from .._common.ranked import RANKS
from ._checks import check_backward_tiling_config, check_tiling_config, window

Additional = tuple[Tensor | None, Tensor | None]


def _compute(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None,
    kernel_size: Any, dilation: Any, is_causal: Any, scale: float | None,
    tiling_config: Any = None, tiling_config_backward: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Output and lse, which the autograd functions return since 0.17.4."""
    rank = query.dim() - 3
    if tiling_config is not None:
        check_tiling_config(rank, tiling_config)
    if tiling_config_backward is not None:
        check_backward_tiling_config(rank, tiling_config_backward)
    where = window(rank, kernel_size, dilation, is_causal)
    scale = default_scale(scale)
    return ops.attn(query, key, value, window=where, scale=scale, rpb=bias)


def _output(*arguments: Any) -> Tensor:
    """Only the output, as returned until 0.17.3."""
    return _compute(*arguments)[0]


_output.__signature__ = inspect.signature(_compute)  # type: ignore[attr-defined]


def _functions(compute: Callable[..., Any]) -> dict[int, Any]:
    return {
        rank: split.named_function(
            f"FusedNeighborhoodAttention{rank}D", "natten_mps.compat.v017.functional", compute
        )
        for rank in RANKS
    }


FUNCTIONS = _functions(_compute)
FUNCTIONS_0173 = _functions(_output)


def check_causal_bias(window: ops.Window, rpb: Tensor | None) -> None:
    """Refuses a bias together with causal axes."""
    if rpb is not None and any(window.causal):
        raise NotImplementedError(
            "Positional biases for causal neighborhood attention is not yet implemented."
        )


def fused(
    window: ops.Window,
    tensors: tuple[Tensor, Tensor, Tensor],
    rpb: Tensor | None,
    scale: float | None,
    additional: Additional,
    xformers_kwargs: dict[str, Any] | None,
) -> Tensor:
    """Checks arguments, then attends to the window and the additional tokens in one softmax."""
    if any(t.is_nested for t in tensors):
        raise NotImplementedError(
            "Fused neighborhood attention does not support nested tensors yet."
        )
    check_xformers(xformers_kwargs)
    query, key, value = tensors
    for k in window.kernel:
        if k <= 1:
            raise RuntimeError(f"Kernel size must be greater than 1, got {k}.")
    check_causal_bias(window, rpb)
    split.check_heads(query, key, -2)
    if rpb is not None:
        rpb = rpb.to(key.dtype)
    extra_key, extra_value = additional
    scale = default_scale(scale)
    try:
        if split.traced() and extra_key is None:
            where = (window.kernel, window.dilation, window.causal, scale, None, None)
            result: Tensor = FUNCTIONS[len(window.kernel)].apply(query, key, value, rpb, *where)[0]
            return result
        return ops.attn_out(
            query,
            key,
            value,
            window=window,
            scale=scale,
            rpb=rpb,
            extra_key=extra_key,
            extra_value=extra_value,
        )
    except Misfit as misfit:
        raise EXTENSION.error(misfit) from None


# Arguments of xformers' attention over the additional tokens. The choice of kernel does not matter
# here; other values of the rest would change the result.
_HARMLESS = {"op": None, "p": 0.0, "attn_bias": None, "scale": None, "output_dtype": None}


def check_xformers(arguments: dict[str, Any] | None) -> None:
    """Raises NotImplementedError for arguments that would change the result."""
    for name, value in ({} if arguments is None else arguments).items():
        if name not in _HARMLESS or (name != "op" and value != _HARMLESS[name]):
            raise NotImplementedError(
                f"xformers_kwargs may choose a kernel (op) but not change the result, got "
                f"{name}={value!r}."
            )
