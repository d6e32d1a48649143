# SPDX-License-Identifier: MIT
"""Checks of query, key and value, with upstream's texts (ValueError unless said)."""

import torch
from torch import Tensor


def _common(query: Tensor, key: Tensor, value: Tensor) -> None:
    tensors = (query, key, value)
    if any(t.is_nested for t in tensors):
        raise NotImplementedError("NATTEN does not support nested tensors.")
    if any(t.layout != torch.strided for t in tensors):
        raise NotImplementedError("NATTEN does not support sparse tensors.")
    if not query.dim() == key.dim() == value.dim():
        raise ValueError(
            "Query, key, and value must have the same rank, got "
            f"{query.dim()=}, {key.dim()=}, {value.dim()=}."
        )


def _types(query: Tensor, key: Tensor, value: Tensor) -> None:
    if not query.device == key.device == value.device:
        raise ValueError(
            "Query, key, and value must be on the same device, got "
            f"{query.device=}, {key.device=}, {value.device=}."
        )
    same = query.dtype == key.dtype == value.dtype
    if not same and not torch.is_autocast_enabled(query.device.type):
        raise ValueError(
            "Query, key, and value must assume the same data type, got "
            f"{query.dtype=}, {key.dtype=}, {value.dtype=}."
        )
    if not query.dtype.is_floating_point or query.dtype.itemsize < 2:
        raise NotImplementedError(
            "NATTEN could not find a suitable backend for this use case: "
            f"{query.dtype} is not supported."
        )


def _head_dims(
    query: Tensor, key: Tensor, value: Tensor, must_match: bool, backend_name: str | None
) -> None:
    if query.shape[0] != key.shape[0] or query.shape[0] != value.shape[0]:
        raise ValueError(
            "Q, K, and V must match in batch size, got "
            f"{query.shape[0]=}, {key.shape[0]=}, {value.shape[0]=}."
        )
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"Q and K head dims must match, got {query.shape[-1]=}, {key.shape[-1]=}.")
    if must_match and query.shape[-1] != value.shape[-1]:
        name = "This operation/backend" if backend_name is None else backend_name
        raise ValueError(
            f"{name} does not support different head dims for QK and V, got "
            f"{query.shape[-1]=}, {value.shape[-1]=}."
        )


def _heads(query: Tensor, key: Tensor, value: Tensor, supports_gqa_mqa: bool) -> None:
    heads_q, heads_kv = query.shape[-2], key.shape[-2]
    if heads_kv != value.shape[-2]:
        raise ValueError(
            "Key and value must always have the same number of heads, got "
            f"{key.shape[-2]=}, {value.shape[-2]=}."
        )
    if not supports_gqa_mqa and heads_q != heads_kv:
        raise ValueError(
            "This operation/backend does not support GQA/MQA, therefore number of heads in Q, K, "
            f"and V must match, got {query.shape[-2]=}, {key.shape[-2]=}, {value.shape[-2]=}."
        )
    if heads_kv == 0 or heads_q % heads_kv:
        raise ValueError(
            f"Key/value heads must evenly divide query heads, got {heads_q=}, {heads_kv=}."
        )


def na_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    must_match_head_dims: bool = False,
    supports_gqa_mqa: bool = True,
    raise_error: bool = True,
    backend_name: str | None = None,
) -> bool:
    """Query, key and value [B, axes..., heads, head dim] of one to three axes fit together.
    What no backend could take always raises; `raise_error` matters to the rest."""
    _common(query, key, value)
    if query.dim() not in (4, 5, 6):
        raise ValueError(
            "Expected 4-D, 5-D, or 6-D tensors as inputs (corresponding to NA1D, NA2D, and "
            f"NA3D), got {query.dim()=}."
        )
    _types(query, key, value)
    layouts = [tuple(t.shape[1:-2]) for t in (query, key, value)]
    if not layouts[0] == layouts[1] == layouts[2]:
        raise ValueError(
            "Neighborhood Attention operations require Q, K, and V to match in their token "
            f"layouts, got {layouts[0]}, {layouts[1]} and {layouts[2]}."
        )
    return _fits(query, key, value, must_match_head_dims, supports_gqa_mqa, raise_error,
                 backend_name)  # fmt: skip


def fmha_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    must_match_head_dims: bool = False,
    supports_gqa_mqa: bool = True,
    raise_error: bool = True,
    backend_name: str | None = None,
) -> bool:
    """Query, key and value [B, S, heads, head dim] fit together."""
    _common(query, key, value)
    if query.dim() != 4:
        raise ValueError(f"Expected 4-D tensors as inputs to FMHA, got {query.dim()=}.")
    _types(query, key, value)
    if key.shape[1] != value.shape[1]:
        raise ValueError(
            f"K and V must match in sequence length, got {key.shape[1]=}, {value.shape[1]=}."
        )
    return _fits(query, key, value, must_match_head_dims, supports_gqa_mqa, raise_error,
                 backend_name)  # fmt: skip


def _fits(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    must_match: bool,
    supports_gqa_mqa: bool,
    raise_error: bool,
    backend_name: str | None,
) -> bool:
    try:
        _head_dims(query, key, value, must_match, backend_name)
        _heads(query, key, value, supports_gqa_mqa)
    except ValueError:
        if raise_error:
            raise
        return False
    return True


def additional_kv_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    add_key: Tensor | None = None,
    add_value: Tensor | None = None,
    must_match_head_dims: bool = False,
    supports_gqa_mqa: bool = True,
) -> None:
    """Additional keys and values [B, T, heads, head dim], both or neither, fit the rest."""
    if add_key is None and add_value is None:
        return
    if add_key is None or add_value is None:
        raise ValueError(
            "`additional_keys` and `additional_values` must be either both Tensors or None."
        )
    if any(t.is_nested for t in (add_key, add_value)):
        raise NotImplementedError("NATTEN does not support nested tensors.")
    if add_key.dim() != 4 or add_value.dim() != 4:
        raise ValueError(
            "Additional K and V must be 4-D tensors [batch, tokens, heads, head dim], got "
            f"{add_key.dim()=}, {add_value.dim()=}."
        )
    _types(query, add_key, add_value)
    if not query.shape[0] == add_key.shape[0] == add_value.shape[0]:
        raise ValueError(
            "Q, additional K, and additional V must match in batch size, got "
            f"{query.shape[0]=}, {add_key.shape[0]=}, {add_value.shape[0]=}."
        )
    if add_key.shape[1] != add_value.shape[1]:
        raise ValueError(
            "Additional K and V must match in sequence length, got "
            f"{add_key.shape[1]=}, {add_value.shape[1]=}."
        )
    for what, dim in (("number of heads", -2), ("head dim", -1)):
        if key.shape[dim] != add_key.shape[dim] or value.shape[dim] != add_value.shape[dim]:
            raise ValueError(
                "Additional key/value tokens must match the self attention key/value tokens in "
                f"{what}, got {key.shape[dim]} and {value.shape[dim]}, and additional "
                f"{add_key.shape[dim]} and {add_value.shape[dim]}."
            )
    _fits(query, add_key, add_value, must_match_head_dims, supports_gqa_mqa, True, None)


def check_ungrouped(query: Tensor, key: Tensor, value: Tensor, complaint: str) -> None:
    """As many key and value heads as query heads, as 0.20 wants."""
    given = (query, key, value)
    if any(t.is_nested for t in given) or len({t.dim() for t in given}) != 1:
        return  # the general checks say what is wrong
    if not query.shape[-2] == key.shape[-2] == value.shape[-2]:
        raise ValueError(f"{complaint}, got {query.shape=}, {key.shape=}, {value.shape=}.")
