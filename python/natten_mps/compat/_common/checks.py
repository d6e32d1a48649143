# SPDX-License-Identifier: MIT
"""What the compiled extensions of 0.15 and 0.17 check, with their texts (RuntimeError)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def check_tensors(rank: int, *tensors: Tensor) -> None:
    """Same type, device and layout [B, H, axes..., anything]."""
    first = tensors[0]
    for tensor in tensors:
        if tensor.dim() != rank + 3:
            raise RuntimeError(f"Expected {rank + 3}-D tensors, got {tensor.dim()}-D.")
    for tensor in tensors[1:]:
        if tensor.device != first.device:
            raise RuntimeError(
                "Expected all tensors to be on the same device, "
                f"got {first.device} and {tensor.device}."
            )
        if tensor.dtype != first.dtype and not torch.is_autocast_enabled(first.device.type):
            raise RuntimeError(
                f"Input tensors must match in dtype! Got {first.dtype} and {tensor.dtype}."
            )
        for dim in range(rank + 2):
            if tensor.shape[dim] != first.shape[dim]:
                raise RuntimeError(
                    f"Tensor shape mismatch at dimension {dim}: "
                    f"{first.shape[dim]} != {tensor.shape[dim]}"
                )


def check_head_dims(query: Tensor, key: Tensor) -> None:
    """Query and key have the same last dimension."""
    if query.shape[-1] != key.shape[-1]:
        raise RuntimeError(
            f"Tensor shape mismatch at dimension {query.dim() - 1}: "
            f"{query.shape[-1]} != {key.shape[-1]}"
        )


def check_axes(lengths: Sequence[int], kernel: Sequence[int], dilation: Sequence[int]) -> None:
    """Dilations are positive and windows fit."""
    for length, k, d in zip(lengths, kernel, dilation, strict=True):
        if d < 1:
            raise RuntimeError(f"Dilation must be a nonnegative integer, got {d}.")
        if k * d > length:
            raise RuntimeError(
                "Input axes must be greater than or equal to the product of kernel size and "
                f"dilation. Got kernel size {k}, dilation {d}, but dimension size was {length}."
            )


def check_attention_dim(attn: Tensor, expected: int) -> None:
    """The number of weights of one query."""
    if attn.shape[-1] != expected:
        raise RuntimeError(f"Expected attention dim was {expected}, got {attn.shape[-1]}")


def check_bias(bias: Tensor, heads: int, kernel: Sequence[int], device: torch.device) -> None:
    """Bias is [H, 2K-1, ...]."""
    if bias.device != device:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, got {device} and {bias.device}."
        )
    want = (heads, *(2 * k - 1 for k in kernel))
    if bias.dim() != len(want):
        raise RuntimeError(f"Expected {len(want)}-D bias tensor, got {bias.dim()}-D.")
    for dim, (expected, got) in enumerate(zip(want, bias.shape, strict=True)):
        if expected != got:
            raise RuntimeError(f"Invalid bias shape at dim {dim}; expected {expected}, got {got}.")
