# SPDX-License-Identifier: MIT
"""The fused operations, heads last, and their autograd functions."""

from typing import Any

from packaging.version import Version
from torch import Tensor

from natten_mps import ops

from .._common import checks, split
from .._common.modules import default_scale
from .utils.checks import check_all_args, check_backward_tiling_config, check_tiling_config

Additional = tuple[Tensor | None, Tensor | None]


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rpb: Tensor | None,
    kernel_size: Any,
    dilation: Any,
    is_causal: Any,
    scale: float | None,
    tiling_config_forward: Any = None,
    tiling_config_backward: Any = None,
) -> Any:
    """What the autograd functions compute; only the output before 0.17.4."""
    from .. import v017

    rank = query.dim() - 3
    if tiling_config_forward is not None:
        check_tiling_config(rank, tiling_config_forward)
    if tiling_config_backward is not None:
        check_backward_tiling_config(rank, tiling_config_backward)
    window = split.window(*check_all_args(rank, kernel_size, dilation, is_causal))
    scale = default_scale(scale, query.shape[-1])
    out, lse = ops.attn(query, key, value, window=window, scale=scale, rpb=rpb)
    return out if Version(v017.__version__) < Version("0.17.4") else (out, lse)


def _function(rank: int) -> Any:
    return split.named_function(f"FusedNeighborhoodAttention{rank}D", __name__, 4, _attend)


FusedNeighborhoodAttention1D = _function(1)
FusedNeighborhoodAttention2D = _function(2)
FusedNeighborhoodAttention3D = _function(3)


def fused(
    rank: int,
    tensors: tuple[Tensor, Tensor, Tensor],
    arguments: tuple[Any, Any, Any],
    rpb: Tensor | None,
    scale: float | None,
    additional: Additional,
    xformers_kwargs: dict[str, Any] | None,
) -> Tensor:
    """Checks, then attention over the window and the additional tokens in one softmax."""
    window = split.window(*check_all_args(rank, *arguments))
    if any(t.is_nested for t in tensors):
        raise NotImplementedError(
            "Fused neighborhood attention does not support nested tensors yet."
        )
    check_xformers(xformers_kwargs)
    query, key, value = tensors
    checks.check_tensors(rank, query, key, value)
    checks.check_head_dims(query, key)
    for k in window.kernel:
        if k <= 1:
            raise RuntimeError(f"Kernel size must be greater than 1, got {k}.")
    checks.check_axes(query.shape[1:-2], window.kernel, window.dilation)
    if rpb is not None:
        if any(window.causal):
            raise NotImplementedError(
                "Positional biases for causal neighborhood attention is not yet implemented."
            )
        checks.check_bias(rpb, query.shape[-2], window.kernel, query.device)
        rpb = rpb.to(key.dtype)
    extra_key, extra_value = _check_additional(query, value, additional)
    out, _ = ops.attn(
        query,
        key,
        value,
        window=window,
        scale=default_scale(scale, query.shape[-1]),
        rpb=rpb,
        extra_key=extra_key,
        extra_value=extra_value,
    )
    return out


def _check_additional(query: Tensor, value: Tensor, additional: Additional) -> Additional:
    keys, values = additional
    if (keys is None) != (values is None):
        raise ValueError(
            "`additional_keys` and `additional_values` must be either both Tensors or None."
        )
    if keys is None or values is None:
        return None, None
    heads = query.shape[-2]
    for tokens, dim in ((keys, query.shape[-1]), (values, value.shape[-1])):
        if tokens.dim() != 4:
            raise ValueError(
                f"Additional tokens have to be shaped as a rank-4 tensor; got {tokens.dim()}."
            )
        want = (query.shape[0], keys.shape[1], heads, dim)
        if tokens.shape != want:
            raise ValueError(
                "Shape mismatch between input tensor and additional tokens; "
                f"got {tuple(tokens.shape)}, expected {want}."
            )
    return keys, values


# What xformers' attention over the additional tokens was told. Which kernel runs is of no
# matter here; the rest would change the result.
_HARMLESS = {"op": None, "p": 0.0, "attn_bias": None, "scale": None, "output_dtype": None}


def check_xformers(arguments: dict[str, Any] | None) -> None:
    """Raises NotImplementedError for arguments that would change the result."""
    for name, value in ({} if arguments is None else arguments).items():
        if name not in _HARMLESS or (name != "op" and value != _HARMLESS[name]):
            raise NotImplementedError(
                f"xformers_kwargs may choose a kernel (op) but not change the result, got "
                f"{name}={value!r}."
            )
