# SPDX-License-Identifier: MIT
"""Operation counts, computed from shapes or by fvcore, which is needed only to count a model."""

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Handle = Callable[[Sequence[Any], Sequence[Any]], int]

has_fvcore = importlib.util.find_spec("fvcore") is not None


def _sizes(value: Any) -> list[int]:
    """Shape of a tensor or of a value in a traced graph."""
    if hasattr(value, "shape"):
        return list(value.shape)
    shape: list[int] | None = value.type().sizes()
    if shape is None:
        raise ValueError(f"the traced graph does not tell the shape of {value}")
    return shape


def _logits(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Logits, from query [..., D] to attention [..., W]: D multiply-accumulates per weight."""
    return math.prod(_sizes(outputs[0])) * _sizes(inputs[0])[-1]


def av_flop(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Attention [..., W] applied to values [..., D]: D multiply-accumulates per weight."""
    return math.prod(_sizes(inputs[0])) * _sizes(inputs[1])[-1]


def qk_rpb_flop(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Count of releases up to 0.17.3: one more per weight for the bias, even without a bias."""
    return _logits(inputs, outputs) + math.prod(_sizes(outputs[0]))


qk_1d_rpb_flop = qk_2d_rpb_flop = qk_3d_rpb_flop = qk_rpb_flop
av_1d_flop = av_2d_flop = av_3d_flop = av_flop


def _weights(inputs: Sequence[Any]) -> int:
    """Number of weights of a fused operation [B, axes..., H, D]. Kernel size is not a tensor."""
    kernel = next(a for a in inputs[0].uses()[0].user.scalar_args() if isinstance(a, tuple))
    return math.prod(_sizes(inputs[0])[:-1]) * math.prod(kernel)


def _fused(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Logits and weighted values."""
    return 2 * _weights(inputs) * _sizes(inputs[0])[-1]


def fna_generic_flops(inputs: Sequence[Any], outputs: Sequence[Any]) -> int:
    """Count of releases up to 0.17.3: one more per weight for the softmax, and one for a bias."""
    bias = len(inputs) == 4
    return _fused(inputs, outputs) + (1 + bias) * _weights(inputs)


def _handles(qk: Handle, fused: Handle) -> dict[str, Handle]:
    """Handles by the names of the autograd functions of all generations."""
    kinds = {
        "NATTEN{}DQKRPBFunction": qk,
        "NATTEN{}DAVFunction": av_flop,
        "NeighborhoodAttention{}DQKAutogradFunction": qk,
        "NeighborhoodAttention{}DAVAutogradFunction": av_flop,
        "FusedNeighborhoodAttention{}D": fused,
    }
    return {
        f"prim::PythonOp.{name.format(rank)}": handle
        for rank in (1, 2, 3)
        for name, handle in kinds.items()
    }


def _counting(handles: Mapping[str, Handle]) -> tuple[Callable[..., Any], Callable[..., float]]:
    def add_natten_handle(flop_ctr: Any) -> Any:
        """Makes an fvcore FlopCountAnalysis count neighborhood attention; returns it."""
        return flop_ctr.set_op_handle(**handles)

    def get_flops(model: Any, input: Any, disable_warnings: bool = False) -> float:
        """Multiply-accumulates of ``model(input)``; requires fvcore."""
        from fvcore.nn import FlopCountAnalysis

        counter = add_natten_handle(FlopCountAnalysis(model, input))
        if disable_warnings:
            counter = counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        total: float = counter.total()
        return total

    return add_natten_handle, get_flops


add_natten_handle, get_flops = _counting(_handles(_logits, _fused))
#: Counts of releases up to 0.17.3.
with_bias = _counting(_handles(qk_rpb_flop, fna_generic_flops))


def _count(shape: Sequence[int], kernel_size: Sequence[int], return_macs: bool) -> int:
    """One product of queries or values [B, ..., D] with each window; masked keys are counted."""
    return math.prod(shape) * math.prod(kernel_size) * (1 if return_macs else 2)


def na_qk_flop_count(
    q_shape: Sequence[int],
    k_shape: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    is_causal: Sequence[bool],
    is_heads_last: bool,
    return_macs: bool = False,
) -> int:
    """Operation count of the logits."""
    _check_same(q_shape, k_shape)
    return _count(q_shape, kernel_size, return_macs)


def na_av_flop_count(
    a_shape: Sequence[int],
    v_shape: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    is_causal: Sequence[bool],
    is_heads_last: bool,
    return_macs: bool = False,
) -> int:
    """Operation count of the weighted sums of values."""
    return _count(v_shape, kernel_size, return_macs)


def fna_flop_count(
    q_shape: Sequence[int],
    k_shape: Sequence[int],
    v_shape: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    is_causal: Sequence[bool],
    is_heads_last: bool,
    return_macs: bool = False,
) -> int:
    """Operation count of fused attention, without softmax and bias."""
    _check_same(q_shape, k_shape)
    _check_same(q_shape, v_shape)
    return 2 * _count(q_shape, kernel_size, return_macs)


def _check_same(first: Sequence[int], second: Sequence[int]) -> None:
    if tuple(first) != tuple(second):
        raise AssertionError(f"Expected identical shapes, got {first} and {second}.")
