# SPDX-License-Identifier: MIT
"""Checks of query, key and value, which programs may call directly."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from natten_mps._operation import ATTN
from natten_mps.ops import Window

from ..dialect import GENERALIZED
from ..split import window


def check_carrier(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Checks that tensors are ordinary strided tensors."""
    for t in (query, key, value):
        if t.is_nested:
            raise NotImplementedError("NATTEN does not support nested tensors.")
        if t.layout != torch.strided:
            raise NotImplementedError("NATTEN does not support sparse tensors.")


def _points(rank: int) -> Window:
    """Windows of size 1, which fit any layout."""
    return window((1,) * rank, (1,) * rank)


def check_rank(query: Tensor) -> int:
    """Returns the number of axes of [B, axes..., heads, head dim]."""
    if query.dim() not in (4, 5, 6):
        raise ValueError(
            "Expected 4-D, 5-D, or 6-D tensors as inputs (corresponding to NA1D, NA2D, and "
            f"NA3D), got {query.dim()=}."
        )
    return query.dim() - 3


def na_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    must_match_head_dims: bool = False,
    supports_gqa_mqa: bool = True,
    raise_error: bool = True,
    backend_name: str | None = None,
) -> bool:
    """Checks that query, key and value [B, axes..., heads, head dim] of one to three axes match.
    Problems that no backend supports always raise; `raise_error` applies to all others."""
    check_carrier(query, key, value)
    points = _points(check_rank(query))
    GENERALIZED.check(ATTN, (query, key, value, None, None, None), points)
    return _passes(
        lambda: _backend(query, key, value, must_match_head_dims, supports_gqa_mqa, backend_name),
        raise_error,
    )


def fmha_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    must_match_head_dims: bool = False,
    supports_gqa_mqa: bool = True,
    raise_error: bool = True,
    backend_name: str | None = None,
) -> bool:
    """Checks that query, key and value [B, S, heads, head dim] match."""
    check_carrier(query, key, value)
    if query.dim() != 4:
        raise ValueError(f"Expected 4-D tensors as inputs to FMHA, got {query.dim()=}.")
    shapes: dict[str, Any] = {}
    if key.dim() == 4:
        # There may be more or fewer queries than keys, and either may be empty.
        length = max(1, key.shape[1])
        shapes = {"query": (query.shape[0], length, *query.shape[2:])}
        if key.shape[1] == 0 and value.shape == (*value.shape[:1], 0, *value.shape[2:]):
            for name, t in (("key", key), ("value", value)):
                shapes[name] = (t.shape[0], length, *t.shape[2:])
    GENERALIZED.check(ATTN, (query, key, value, None, None, None), _points(1), shapes)
    return _passes(
        lambda: _backend(query, key, value, must_match_head_dims, supports_gqa_mqa, backend_name),
        raise_error,
    )


def _passes(check: Callable[[], None], raise_error: bool) -> bool:
    try:
        check()
    except ValueError:
        if raise_error:
            raise
        return False
    return True


def _backend(
    query: Tensor, key: Tensor, value: Tensor, must_match: bool, grouped: bool, name: str | None
) -> None:
    """Checks restrictions that only some backends have."""
    if must_match and query.shape[-1] != value.shape[-1]:
        raise ValueError(
            f"{name or 'This operation/backend'} does not support different head dims for QK and "
            f"V, got {query.shape[-1]=}, {value.shape[-1]=}."
        )
    if not grouped and query.shape[-2] != key.shape[-2]:
        raise ValueError(
            "This operation/backend does not support GQA/MQA, therefore number of heads in Q, K, "
            f"and V must match, got {query.shape[-2]=}, {key.shape[-2]=}, {value.shape[-2]=}."
        )


def additional_kv_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    add_key: Tensor | None = None,
    add_value: Tensor | None = None,
    must_match_head_dims: bool = False,
    supports_gqa_mqa: bool = True,
) -> None:
    """Checks that additional keys and values [B, T, heads, head dim], both or neither, match."""
    for t in (add_key, add_value):
        if t is not None:
            check_carrier(t, t, t)
    points = _points(check_rank(query))
    GENERALIZED.check(ATTN, (query, key, value, None, add_key, add_value), points)
    if add_key is not None and add_value is not None:
        _backend(query, add_key, add_value, must_match_head_dims, supports_gqa_mqa, None)


def check_ungrouped(query: Tensor, key: Tensor, value: Tensor, complaint: str) -> None:
    """Checks that there are as many key and value heads as query heads, as 0.20 requires."""
    if query.is_nested or key.is_nested or value.is_nested:
        return  # the general checks raise the error
    if query.dim() == key.dim() == value.dim() and not (
        query.shape[-2] == key.shape[-2] == value.shape[-2]
    ):
        raise ValueError(f"{complaint}, got {query.shape=}, {key.shape=}, {value.shape=}.")
