# SPDX-License-Identifier: MIT
"""Functions of natten-mps 0.3.3's extras that compute on MPS tensors and return None for others.

Tensors are heads-first: query, key and value `[B, H, *S, D]`, attn `[B, H, *S, K**rank]`, rpb
`[H, 2K-1]` or `[H, 2K-1, 2K-1]`.
"""

import torch
from torch import Tensor

from . import functional

Gradients = tuple[Tensor | None, ...]


def _available(tensor: Tensor) -> bool:
    return tensor.is_mps


def _last(tensor: Tensor) -> Tensor:
    return tensor.movedim(1, -2)


def _first(tensor: Tensor) -> Tensor:
    return tensor.movedim(-2, 1)


def _qkrpb(
    rank: int, query: Tensor, key: Tensor, rpb: Tensor | None, kernel_size: int, dilation: int
) -> Tensor:
    call = getattr(functional, f"natten{rank}dqkrpb")
    return _first(call(_last(query), _last(key), rpb, kernel_size, dilation))


def _av(rank: int, attn: Tensor, value: Tensor, kernel_size: int, dilation: int) -> Tensor:
    call = getattr(functional, f"natten{rank}dav")
    return _first(call(_last(attn), _last(value), kernel_size, dilation))


def _qkrpb_gradients(
    rank: int,
    tensors: tuple[Tensor, Tensor, Tensor | None],
    d_attn: Tensor,
    kernel_size: int,
    dilation: int,
) -> Gradients:
    with torch.enable_grad():
        query, key, rpb = (t if t is None else t.detach().requires_grad_() for t in tensors)
        assert query is not None
        assert key is not None
        out = _qkrpb(rank, query, key, rpb, kernel_size, dilation)
    wanted = [t for t in (query, key, rpb) if t is not None]
    gradients = torch.autograd.grad(out, wanted, d_attn)
    return gradients if rpb is not None else (*gradients, None)


def _av_gradients(
    rank: int, attn: Tensor, value: Tensor, d_out: Tensor, kernel_size: int, dilation: int
) -> Gradients:
    with torch.enable_grad():
        attn, value = attn.detach().requires_grad_(), value.detach().requires_grad_()
        out = _av(rank, attn, value, kernel_size, dilation)
    return torch.autograd.grad(out, (attn, value), d_out)


def metal_1d_qkrpb(
    query_hf: Tensor, key_hf: Tensor, rpb: Tensor, kernel_size: int, dilation: int
) -> Tensor | None:
    """Logits `[B, H, L, K]` on MPS, None elsewhere."""
    if not _available(query_hf):
        return None
    return _qkrpb(1, query_hf, key_hf, rpb, kernel_size, dilation)


def metal_2d_qkrpb(
    query_hf: Tensor, key_hf: Tensor, rpb: Tensor, kernel_size: int, dilation: int
) -> Tensor | None:
    """Logits `[B, H, Hh, Hw, K*K]` on MPS, None elsewhere."""
    if not _available(query_hf):
        return None
    return _qkrpb(2, query_hf, key_hf, rpb, kernel_size, dilation)


def metal_1d_av(
    attn_hf: Tensor, value_hf: Tensor, kernel_size: int, dilation: int
) -> Tensor | None:
    """Weighted values `[B, H, L, D]` on MPS, None elsewhere."""
    if not _available(attn_hf):
        return None
    return _av(1, attn_hf, value_hf, kernel_size, dilation)


def metal_2d_av(
    attn_hf: Tensor, value_hf: Tensor, kernel_size: int, dilation: int
) -> Tensor | None:
    """Weighted values `[B, H, Hh, Hw, D]` on MPS, None elsewhere."""
    if not _available(attn_hf):
        return None
    return _av(2, attn_hf, value_hf, kernel_size, dilation)


def metal_1d_qkrpb_backward(
    query_hf: Tensor,
    key_hf: Tensor,
    rpb: Tensor | None,
    d_attn: Tensor,
    kernel_size: int,
    dilation: int,
) -> Gradients | None:
    """Gradients of query, key and rpb (None without one) on MPS, None elsewhere."""
    if not _available(query_hf):
        return None
    return _qkrpb_gradients(1, (query_hf, key_hf, rpb), d_attn, kernel_size, dilation)


def metal_2d_qkrpb_backward(
    query_hf: Tensor,
    key_hf: Tensor,
    rpb: Tensor | None,
    d_attn: Tensor,
    kernel_size: int,
    dilation: int,
) -> Gradients | None:
    """Gradients of query, key and rpb (None without one) on MPS, None elsewhere."""
    if not _available(query_hf):
        return None
    return _qkrpb_gradients(2, (query_hf, key_hf, rpb), d_attn, kernel_size, dilation)


def metal_1d_av_backward(
    attn_hf: Tensor, value_hf: Tensor, d_out: Tensor, kernel_size: int, dilation: int
) -> Gradients | None:
    """Gradients of attn and value on MPS, None elsewhere."""
    if not _available(attn_hf):
        return None
    return _av_gradients(1, attn_hf, value_hf, d_out, kernel_size, dilation)


def metal_2d_av_backward(
    attn_hf: Tensor, value_hf: Tensor, d_out: Tensor, kernel_size: int, dilation: int
) -> Gradients | None:
    """Gradients of attn and value on MPS, None elsewhere."""
    if not _available(attn_hf):
        return None
    return _av_gradients(2, attn_hf, value_hf, d_out, kernel_size, dilation)
