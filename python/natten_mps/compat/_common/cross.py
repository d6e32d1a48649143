# SPDX-License-Identifier: MIT
"""``natten.ops``: attention of tokens [B, H, axes..., D] to T additional tokens [B, H, T, D].
Results are written to the given output tensors."""

from torch import Tensor


def qk_cross_forward(query: Tensor, key: Tensor, out: Tensor) -> None:
    """Writes the dot products to out [B, H, axes..., T]."""
    out.copy_((query.flatten(2, -2) @ key.mT).view_as(out))


def qk_cross_backward(
    query: Tensor, d_attn: Tensor, key: Tensor, d_query: Tensor, d_key: Tensor
) -> None:
    """Writes the gradients of :func:`qk_cross_forward`."""
    grad = d_attn.flatten(2, -2)
    d_query.copy_((grad @ key).view_as(d_query))
    d_key.copy_(grad.mT @ query.flatten(2, -2))


def av_cross_forward(attn: Tensor, value: Tensor, output: Tensor) -> None:
    """Writes the sums of values weighted by attn [B, H, axes..., T] to output."""
    output.copy_((attn.flatten(2, -2) @ value).view_as(output))


def av_cross_backward(
    d_out: Tensor, value: Tensor, attn: Tensor, d_attn: Tensor, d_value: Tensor
) -> None:
    """Writes the gradients of :func:`av_cross_forward`."""
    grad = d_out.flatten(2, -2)
    d_attn.copy_((grad @ value.mT).view_as(d_attn))
    d_value.copy_(attn.flatten(2, -2).mT @ grad)
