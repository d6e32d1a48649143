# SPDX-License-Identifier: MIT
"""Split operations on nested tensors: one call per sample, inference only."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def map_samples(
    compute: Callable[..., Tensor], rank: int, tensors: Sequence[Tensor | None]
) -> Tensor:
    """Returns the nested result of compute(*samples).

    Samples are [H, axes..., D] or, as in upstream, have a batch dimension: [B, H, axes..., D].
    Raises ValueError unless all tensors are nested leaves without gradients.
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
    single = given[0].dim() == rank + 3
    results = []
    for row in zip(*columns, strict=True):
        batch = (t[None] if single and t is not None else t for t in row)
        result = compute(*batch)
        results.append(result[0] if single else result)
    return torch.nested.as_nested_tensor(results)
