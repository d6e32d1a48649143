# SPDX-License-Identifier: MIT
"""Unsupported kinds of tensors: each gets an error that names it and says what to use instead."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from types import FunctionType
from typing import Any, NoReturn, TypeVar, cast

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from ._layout import Misfit, TypeMisfit, UnsupportedMisfit

Function = TypeVar("Function", bound=Callable[..., Any])

#: Names of arguments that are tensors or lists of tensors.
_TENSORS = ("query", "key", "value", "attn")
_SEVERAL = ("outputs", "lse_tensors")
#: Prefixes of the names of functions that compute.
_COMPUTE = ("na1d", "na2d", "na3d", "natten", "neighborhood", "attention", "merge")
#: Texts that show that an error already explains the problem.
_SAID = (
    " nested tensor",
    " sparse tensor",
    " masked tensor",
    "(want a tensor)",
    "does not take this problem",
)
_PACKED = "a plain tensor; na1d_packed takes concatenated sequences, na1d_varlen padded ones"


def is_foreign(value: Any) -> bool:
    """Whether a value is not a tensor but stands in for one, like a torch.fx proxy."""
    return not isinstance(value, Tensor) and hasattr(type(value), "__torch_function__")


def refuse(tensors: Mapping[str, Any]) -> None:
    """Raise TypeError for non-tensors and NotImplementedError for unsupported tensors."""
    for name, tensor in tensors.items():
        if is_foreign(tensor):
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
    """Name the tensor in the error if a subclass, such as torch.masked's, declines to compute."""
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
    """How a tensor stores its values, and what to use instead; None for strided tensors."""
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
    """Whether a tensor is a DTensor, which only the operations themselves support."""
    distributed = sys.modules.get("torch.distributed.tensor")
    return distributed is not None and isinstance(tensor, getattr(distributed, "DTensor", ()))


def one_node(function: Function) -> Function:
    """Make the function a single call for torch.fx proxies, which have no shapes and cannot be
    compared with None."""

    @wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        values = (*arguments, *options.values())
        if has_torch_function(values) or (values and type(values[0]) is list):
            proxies = [a for a in _flat(values) if is_foreign(a)]
            if proxies:
                return handle_torch_function(called, proxies[:1], *arguments, **options)
        return function(*arguments, **options)

    return unscriptable(cast("Function", called))


def unscriptable(function: Function) -> Function:
    """Make torch.jit.script refuse the function, also where a scripted one calls it."""

    def refuse() -> NoReturn:
        raise _no_script(function.__name__)

    function.__prepare_scriptable__ = refuse  # type: ignore[attr-defined]
    return function


class Unscriptable:
    """A module that torch.jit.script refuses, also as a part of others."""

    def __prepare_scriptable__(self) -> NoReturn:
        raise _no_script(type(self).__name__)


def _no_script(name: str) -> NotImplementedError:
    return NotImplementedError(
        f"{name} is given to torch.jit.script (want torch.jit.trace or torch.export)"
    )


def explained(function: Function) -> Function:
    """Make the function a single node for torch.fx, and explain a failure that is caused by an
    argument that is not a tensor or is an unsupported kind of tensor."""

    @wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            _explain(function, arguments, options, error)
            raise

    return one_node(cast("Function", called))


def _explain(function: Any, arguments: Any, options: Any, error: Exception) -> None:
    """Raise a better error if an argument explains the failure and `error` does not say so."""
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
    """Wrap the computing functions of a module with `explained`."""
    done: dict[int, Any] = {}
    for name, value in list(module.items()):
        if isinstance(value, FunctionType) and name.startswith(_COMPUTE):
            module[name] = done.setdefault(id(value), explained(value))


def _flat(values: Any) -> list[Any]:
    return [v for value in values for v in (value if isinstance(value, (list, tuple)) else [value])]


def describe(tensor: Any) -> str:
    """Describe how a tensor that is not plain stores its values."""
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
