# SPDX-License-Identifier: MIT
"""Operation counts for fvcore, in multiply-accumulates."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Handle = Callable[[Sequence[Any], Sequence[Any]], int]


def sizes(value: Any) -> list[int]:
    """Shape of a tensor or of a value in a traced graph."""
    if hasattr(value, "shape"):
        return list(value.shape)
    shape: list[int] | None = value.type().sizes()
    if shape is None:
        raise ValueError(f"the traced graph does not tell the shape of {value}")
    return shape


def qk_macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Logits from query [..., D] to attention [..., W]: D a weight, and one for the bias."""
    return math.prod(sizes(outputs[0])) * (sizes(inputs[0])[-1] + 1)


def av_macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Attention [..., W] applied to values [..., D]: D a weight."""
    return math.prod(sizes(inputs[0])) * sizes(inputs[1])[-1]


def add_handles(counter: Any, handles: Mapping[str, Handle]) -> Any:
    """Teaches an fvcore counter the autograd functions of those class names."""
    named = {f"prim::PythonOp.{name}": handle for name, handle in handles.items()}
    return counter.set_op_handle(**named)


def count(model: Any, inputs: Any, handles: Mapping[str, Handle], disable_warnings: bool) -> float:
    """Multiply-accumulates of a forward pass, by fvcore, which must be installed."""
    from fvcore.nn import FlopCountAnalysis  # type: ignore[import-not-found,unused-ignore]

    counter = add_handles(FlopCountAnalysis(model, inputs), handles)
    if disable_warnings:
        counter = counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    total: float = counter.total()
    return total
