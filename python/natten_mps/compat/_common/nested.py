# SPDX-License-Identifier: MIT
"""Split operations on nested tensors: one call a sample, inference only."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def is_nested(*tensors: Tensor | None) -> bool:
    """Whether any of the tensors is nested."""
    return any(t is not None and t.is_nested for t in tensors)


def map_samples(compute: Callable[..., Tensor], *tensors: Tensor | None) -> Tensor:
    """Nested result of compute(*samples), each sample with a batch dimension of 1.

    Raises ValueError unless all tensors are nested leaves that need no gradient.
    """
    given = [t for t in tensors if t is not None]
    if not all(t.is_nested for t in given):
        raise ValueError("Expected all inputs to be nested tensors, got a mix with dense tensors.")
    if not all(t.is_leaf for t in given) or any(t.requires_grad for t in given):
        raise ValueError(
            "Only nested tensors that are leaves and need no gradient are supported "
            "(inference only)."
        )
    if len({t.size(0) for t in given}) != 1:
        raise ValueError(f"Nested tensors differ in batch size: {[t.size(0) for t in given]}.")
    columns: list[Sequence[Tensor | None]] = [
        [None] * given[0].size(0) if t is None else t.unbind() for t in tensors
    ]
    results = [
        compute(*(None if t is None else t.unsqueeze(0) for t in row)).squeeze(0)
        for row in zip(*columns, strict=True)
    ]
    return torch.nested.as_nested_tensor(results)
