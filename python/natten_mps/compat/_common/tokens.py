# SPDX-License-Identifier: MIT
"""``natten.utils`` of 0.15 and later: additional tokens of split operations, heads first."""

import torch
from torch import Tensor


def check_additional_keys(input_tensor: Tensor, additional_keys: Tensor | None) -> int:
    """Number of additional tokens [B, H, T, D], which must match the input [B, H, axes..., D]."""
    if additional_keys is None:
        return 0
    if additional_keys.dim() != 4:
        raise ValueError(
            f"Additional tokens have to be shaped as a rank-4 tensor; got {additional_keys.dim()}."
        )
    batch, heads, tokens, dim = additional_keys.shape
    if (batch, heads, dim) != (*input_tensor.shape[:2], input_tensor.shape[-1]):
        raise ValueError(
            "Shape mismatch between input tensor and additional tokens; "
            f"got {tuple(input_tensor.shape)} and {tuple(additional_keys.shape)}."
        )
    return tokens


def check_additional_values(
    attn_tensor: Tensor,
    additional_values: Tensor | None,
    value: Tensor,
    expected_attn_weights: int,
) -> int:
    """Number T of additional tokens, for which attn [B, H, axes..., W + T] must have weights."""
    tokens = check_additional_keys(value, additional_values)
    expected = expected_attn_weights + tokens
    if attn_tensor.shape[-1] != expected:
        raise ValueError(
            f"Expected {expected} attention weights per token, "
            f"got attn_tensor.shape[-1]={attn_tensor.shape[-1]}."
        )
    return tokens


def make_attn_tensor_from_input(input_tensor: Tensor, attention_dim: int) -> Tensor:
    """An uninitialized attention tensor [..., attention_dim] for an input [..., D]."""
    return torch.empty(
        (*input_tensor.shape[:-1], attention_dim),
        dtype=input_tensor.dtype,
        device=input_tensor.device,
    )
