# SPDX-License-Identifier: MIT
"""Full attention on sequences of different lengths, concatenated along one axis."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from natten_mps._gradients import first_order

from ..attention import attention as full_attention

Parameters = tuple[Tensor | None, Tensor | None, int, int]


def _check_pair(names: tuple[str, str], pair: tuple[Any, Any], device: torch.device) -> None:
    a, b = names
    first, second = pair
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        raise ValueError(f"{a} and {b} must both be tensors.")
    if first.device != device or second.device != device:
        raise ValueError(
            f"{a} and {b} must be on the same device as QKV, got {first.device}, "
            f"{second.device} and {device}."
        )
    if first.dtype != torch.int32 or second.dtype != torch.int32:
        raise ValueError(
            f"{a} and {b} must both be torch.int32 tensors, got {a}.dtype={first.dtype}, "
            f"{b}.dtype={second.dtype}."
        )
    if first.dim() != 1 or second.dim() != 1:
        raise ValueError(
            f"{a} and {b} must both be 1-D tensors, got {a}.dim()={first.dim()}, "
            f"{b}.dim()={second.dim()}."
        )
    if first.shape != second.shape:
        raise ValueError(
            f"{a} and {b} must match in size, got {a}.shape={first.shape}, "
            f"{b}.shape={second.shape}."
        )


def _check_packed(query: Tensor) -> None:
    if query.shape[0] != 1:
        raise ValueError(
            "Variable length attention only supports sequence-packed memory layout (batch = 1), "
            f"got {query.shape[0]=}."
        )


def generate_varlen_parameters(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seqlens_Q: Tensor | None = None,
    seqlens_KV: Tensor | None = None,
) -> Parameters:
    """(cumulative_seqlen_Q, cumulative_seqlen_KV, max_seqlen_Q, max_seqlen_KV) for lengths [n];
    (None, None, 0, 0) without lengths."""
    if seqlens_Q is None and seqlens_KV is None:
        return None, None, 0, 0
    if torch.compiler.is_compiling():
        raise RuntimeError(
            "generate_varlen_parameters reads the lengths and cannot be compiled; call it "
            "outside of torch.compile."
        )
    if seqlens_Q is None or seqlens_KV is None:
        raise ValueError(
            "Variable length Attention requires both of seqlens_Q and seqlens_KV to be set, got "
            f"{seqlens_Q=}, {seqlens_KV=}."
        )
    _check_packed(query)
    _check_pair(("seqlens_Q", "seqlens_KV"), (seqlens_Q, seqlens_KV), query.device)
    if seqlens_Q.numel() < 1:
        raise ValueError(
            "seqlens_Q and seqlens_KV must contain at least one element, got "
            f"{seqlens_Q.shape=}, {seqlens_KV.shape=}."
        )
    return (
        _cumulative(seqlens_Q),
        _cumulative(seqlens_KV),
        int(seqlens_Q.max()),
        int(seqlens_KV.max()),
    )


def _cumulative(lengths: Tensor) -> Tensor:
    return functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))


def varlen_tensor_checks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seqlens_Q: Tensor | None = None,
    seqlens_KV: Tensor | None = None,
    cumulative_seqlen_Q: Tensor | None = None,
    cumulative_seqlen_KV: Tensor | None = None,
    max_seqlen_Q: int | None = None,
    max_seqlen_KV: int | None = None,
) -> Parameters:
    """Returns complete parameters from lengths, or from cumulative lengths and maxima;
    (None, None, 0, 0) if neither is given."""
    given = (seqlens_Q, seqlens_KV, cumulative_seqlen_Q, cumulative_seqlen_KV)
    if all(x is None for x in given) and not max_seqlen_Q and not max_seqlen_KV:
        return None, None, 0, 0
    if seqlens_Q is not None or seqlens_KV is not None:
        return generate_varlen_parameters(query, key, value, seqlens_Q, seqlens_KV)
    if (
        cumulative_seqlen_Q is None
        or cumulative_seqlen_KV is None
        or max_seqlen_Q is None
        or max_seqlen_KV is None
    ):
        raise ValueError(
            "Variable length Attention requires all of cumulative_seqlen_{Q,KV} and "
            "max_seqlen_{Q,KV} to be set."
        )
    _check_packed(query)
    names = ("cumulative_seqlen_Q", "cumulative_seqlen_KV")
    _check_pair(names, (cumulative_seqlen_Q, cumulative_seqlen_KV), query.device)
    if cumulative_seqlen_Q.numel() < 2:
        raise ValueError(
            "cumulative_seqlen_Q and cumulative_seqlen_KV must contain at least 2 elements, got "
            f"{cumulative_seqlen_Q.shape=}, {cumulative_seqlen_KV.shape=}."
        )
    _check_maxima(max_seqlen_Q, max_seqlen_KV, query.shape[1], key.shape[1])
    return cumulative_seqlen_Q, cumulative_seqlen_KV, max_seqlen_Q, max_seqlen_KV


def _check_maxima(max_seqlen_Q: Any, max_seqlen_KV: Any, total_Q: int, total_KV: int) -> None:
    if not isinstance(max_seqlen_Q, int) or not isinstance(max_seqlen_KV, int):
        raise ValueError(
            "max_seqlen_Q and max_seqlen_KV must be ints, got "
            f"{type(max_seqlen_Q)=}, {type(max_seqlen_KV)=}, {max_seqlen_Q=}, {max_seqlen_KV=}."
        )
    for name, longest, total in (("Q", max_seqlen_Q, total_Q), ("KV", max_seqlen_KV, total_KV)):
        if longest > total:
            raise ValueError(
                f"Maximum sequence length cannot exceed total, got max_seqlen_{name}={longest}, "
                f"total_seqlen_{name}={total}."
            )
    if (max_seqlen_Q < 1) != (max_seqlen_KV < 1):
        raise ValueError(
            "max_seqlen_Q and max_seqlen_KV must both be zero or both be non-zero, got "
            f"{max_seqlen_Q=}, {max_seqlen_KV=}."
        )


def _spans(
    cumulative_Q: Tensor, cumulative_KV: Tensor, total_Q: int, total_KV: int
) -> Iterator[tuple[slice, slice]]:
    """Positions of the queries and keys of each sequence."""
    starts = [cumulative.tolist() for cumulative in (cumulative_Q, cumulative_KV)]
    for values, total, name in zip(starts, (total_Q, total_KV), ("Q", "KV"), strict=True):
        if values[0] != 0 or values[-1] > total or values != sorted(values):
            raise ValueError(
                f"cumulative_seqlen_{name} must rise from 0 to at most {total}, got {values}."
            )
    for i in range(len(starts[0]) - 1):
        yield tuple(slice(values[i], values[i + 1]) for values in starts)  # type: ignore[misc]


def attention(
    query: Tensor, key: Tensor, value: Tensor, cumulative_Q: Tensor, cumulative_KV: Tensor,
    scale: Any, is_causal: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Output [1, Sq, H, Dv] and lse [1, Sq, H] of self-attention within each sequence. Queries
    after the last sequence get output 0 and lse -infinity."""
    if isinstance(scale, Tensor):
        query, scale = query * scale, 1.0
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    operation = _compiled if torch.compiler.is_compiling() else _eager
    result: tuple[Tensor, Tensor] = operation(
        query, key, value, cumulative_Q, cumulative_KV, scale, is_causal
    )
    return result


def _eager(
    query: Tensor, key: Tensor, value: Tensor, cumulative_Q: Tensor, cumulative_KV: Tensor,
    scale: float, is_causal: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    total = query.shape[1]
    parts = []
    end = 0
    for where_q, where_kv in _spans(cumulative_Q, cumulative_KV, total, key.shape[1]):
        own = query[:, where_q], key[:, where_kv], value[:, where_kv]
        parts.append(full_attention(*own, scale, is_causal))
        end = where_q.stop
    out = torch.cat([out for out, _ in parts], dim=1)
    lse = torch.cat([lse for _, lse in parts], dim=1)
    out = functional.pad(out, (0, 0, 0, 0, 0, total - end))
    return out, functional.pad(lse, (0, 0, 0, total - end), value=-math.inf)


# A compiler cannot trace the lengths, which are data: it gets one operation, and another one for
# the gradients.
_LENGTHS = "Tensor cumulative_Q, Tensor cumulative_KV, float scale, bool is_causal"
_compiled = torch.library.custom_op(
    "natten_mps::packed_attention",
    lambda *arguments: _eager(*arguments),
    mutates_args=(),
    schema=f"(Tensor query, Tensor key, Tensor value, {_LENGTHS}) -> (Tensor, Tensor)",
)


def _backward(
    d_out: Tensor, d_lse: Tensor, query: Tensor, key: Tensor, value: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    grads = first_order(
        lambda *leaves: _eager(*leaves, *rest), (query, key, value), (d_out, d_lse), (True,) * 3
    )
    return tuple(g.contiguous() for g in grads if g is not None)


_compiled_backward = torch.library.custom_op(
    "natten_mps::packed_attention_backward",
    _backward,
    mutates_args=(),
    schema="(Tensor d_out, Tensor d_lse, Tensor query, Tensor key, Tensor value, "
    f"{_LENGTHS}) -> (Tensor, Tensor, Tensor)",
)


@_compiled.register_fake
def _fake(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    lse = torch.float64 if query.dtype == torch.float64 else torch.float32
    shape = query.shape[:-1]
    return query.new_empty((*shape, value.shape[-1])), query.new_empty(shape, dtype=lse)


@_compiled_backward.register_fake
def _fake_backward(
    d_out: Tensor, d_lse: Tensor, query: Tensor, key: Tensor, value: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in (query, key, value))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.rest = inputs[5:]


def _differentiate(ctx: Any, d_out: Tensor, d_lse: Tensor) -> tuple[Any, ...]:
    grads = _compiled_backward(d_out, d_lse, *ctx.saved_tensors, *ctx.rest)
    return (*grads, None, None, None, None)


_compiled.register_autograd(_differentiate, setup_context=_keep)
