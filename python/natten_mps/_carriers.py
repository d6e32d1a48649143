# SPDX-License-Identifier: MIT
"""Tensors that nothing here computes with: each is refused by name, with what to do instead."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from ._layout import Misfit, TypeMisfit, UnsupportedMisfit

Function = TypeVar("Function", bound=Callable[..., Any])

#: Names of arguments that are tensors, or lists of them.
_TENSORS = ("query", "key", "value", "attn")
_SEVERAL = ("outputs", "lse_tensors")
#: How the names of functions begin that compute.
_COMPUTE = ("na1d", "na2d", "na3d", "natten", "neighborhood", "attention", "merge")
#: What an error has that says it already.
_SAID = (
    " nested tensor",
    " sparse tensor",
    " masked tensor",
    "(want a tensor)",
    "does not take this problem",
)
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
            text = f"{name} is of type {type(tensor).__name__} (want a tensor)"
            raise TypeMisfit("type", text, {"name": name, "got": type(tensor)})
        found = _carrier(tensor)
        if found is not None:
            what, instead = found
            text = f"{name} is {what} (want {instead})"
            raise UnsupportedMisfit("carrier", text, {"name": name, "got": what})


@contextmanager
def declining(names: Sequence[str], tensors: Sequence[Any]) -> Iterator[None]:
    """Names the tensor where a subclass, such as torch.masked's, declines to compute."""
    try:
        yield
    except TypeError as error:
        if not str(error).startswith(("Multiple dispatch failed", "no implementation found")):
            raise
        found = [(n, t) for n, t in zip(names, tensors, strict=True) if _is_subclass(t)]
        if not found:
            raise
        name, tensor = found[0]
        what = f"a {type(tensor).__name__}"
        text = f"{name} is {what}, which takes no operations of others (want a plain tensor)"
        raise UnsupportedMisfit("carrier", text, {"name": name, "got": what}) from error


def _is_subclass(value: Any) -> bool:
    return isinstance(value, Tensor) and type(value) not in (Tensor, torch.nn.Parameter)


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
    masked = sys.modules.get("torch.masked")
    if masked is not None and isinstance(tensor, masked.MaskedTensor):
        return "a masked tensor", "a plain one: .to_tensor(value)"
    return None


def is_distributed(tensor: Any) -> bool:
    """Whether a tensor is a DTensor, which only the operations themselves compute with."""
    distributed = sys.modules.get("torch.distributed.tensor")
    return distributed is not None and isinstance(tensor, getattr(distributed, "DTensor", ()))


def one_node(function: Function) -> Function:
    """To the proxies of torch.fx, which know neither shapes nor what is None, the function is one
    call."""

    @wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        values = (*arguments, *options.values())
        if has_torch_function(values) or (values and type(values[0]) is list):
            proxies = [a for a in _flat(values) if is_foreign(a)]
            if proxies:
                return handle_torch_function(called, proxies[:1], *arguments, **options)
        return function(*arguments, **options)

    return cast("Function", called)


def explained(function: Function) -> Function:
    """One node to torch.fx; and where the function fails because an argument is no tensor, or one
    of a kind that nothing computes, the error says that."""

    @wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            _explain(function, arguments, options, error)
            raise

    return one_node(cast("Function", called))


def _explain(function: Any, arguments: Any, options: Any, error: Exception) -> None:
    """Raise what is to be said of the arguments; nothing if it is said, or nothing is to say."""
    try:
        given = inspect.signature(function).bind(*arguments, **options).arguments
    except TypeError:
        return
    for name, value in given.items():
        parts = value if isinstance(value, (list, tuple)) and name in _SEVERAL else [value]
        wanted = name in _TENSORS or name in _SEVERAL
        for part in parts:
            if not isinstance(part, Tensor) and not (wanted and part is not None):
                continue
            try:
                refuse({name: part})
            except Misfit as misfit:
                if not any(said in str(error) for said in _SAID):
                    raise misfit from error


def guard(module: dict[str, Any]) -> None:
    """Explain the errors of all functions of a module that compute."""
    done: dict[int, Any] = {}
    for name, value in list(module.items()):
        if isinstance(value, FunctionType) and name.startswith(_COMPUTE):
            module[name] = done.setdefault(id(value), explained(value))


def _flat(values: Any) -> list[Any]:
    return [v for value in values for v in (value if isinstance(value, (list, tuple)) else [value])]


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
