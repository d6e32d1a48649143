# SPDX-License-Identifier: MIT
"""Tensors that nothing here computes with: each is refused by name, with what to do instead."""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ._layout import TypeMisfit, UnsupportedMisfit

_PACKED = "a plain tensor; na1d_packed takes sequences one behind the other, na1d_varlen padded"


def is_foreign(value: Any) -> bool:
    """Whether a value is no tensor but stands for one, as the proxies of torch.fx do."""
    return not isinstance(value, Tensor) and hasattr(type(value), "__torch_function__")


def refuse(tensors: Mapping[str, Any]) -> None:
    """TypeError for what is no tensor, NotImplementedError for a tensor that nothing computes."""
    for name, tensor in tensors.items():
        if tensor is None or is_foreign(tensor):
            continue
        if not isinstance(tensor, Tensor):
            text = f"{name} is a {type(tensor).__name__} (want a tensor)"
            raise TypeMisfit("type", text, {"name": name, "got": type(tensor)})
        found = _carrier(tensor)
        if found is not None:
            what, instead = found
            text = f"{name} is {what} (want {instead})"
            raise UnsupportedMisfit("carrier", text, {"name": name, "got": what})


def _carrier(tensor: Tensor) -> tuple[str, str] | None:
    """What carries the values, and the way out; None for strided tensors."""
    if tensor.is_nested:
        return "a nested tensor", _PACKED
    if tensor.layout == torch._mkldnn:  # type: ignore[attr-defined]
        return "an mkldnn tensor", "a dense one: .to_dense()"
    if tensor.layout != torch.strided:
        return f"a sparse tensor ({tensor.layout})", "a dense one: .to_dense()"
    if tensor.is_quantized:
        return "a quantized tensor", "a floating-point one: .dequantize()"
    distributed = sys.modules.get("torch.distributed.tensor")
    if distributed is not None and isinstance(tensor, getattr(distributed, "DTensor", ())):
        return "a DTensor", "a plain one: .to_local() or .full_tensor()"
    return None


def describe(tensor: Any) -> str:
    """What carries the values of a tensor that is not plain."""
    found = _carrier(tensor) if isinstance(tensor, Tensor) else None
    if found is not None:
        return found[0]
    if is_foreign(tensor) or type(tensor) not in (Tensor, torch.nn.Parameter):
        return f"a {type(tensor).__name__}"
    if torch._C._functorch.is_batchedtensor(tensor):
        return "vmapped"
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return "transformed by torch.func"
    return f"a tensor on {tensor.device}"
