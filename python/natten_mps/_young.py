# SPDX-License-Identifier: MIT
"""Streams shorter than a window: hides what precedes their first token.

The streams of a batch may begin at different times. `ages` has the number of tokens that each has
had before this step, negative before it begins.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from .utils.window import Window


def cleared(ages: Sequence[int], *tensors: Tensor) -> list[Tensor]:
    """The tensors `[B, n, ...]`, which end at the same token, with zeros before their stream
    begins: a weight of 0 would not hide a NaN. The first one begins with this step."""
    found = []
    for t in tensors:
        first = tensors[0].shape[1] - t.shape[1]
        place = torch.arange(first, tensors[0].shape[1], device=t.device)
        early = place + torch.tensor(ages, device=t.device)[:, None] < 0
        found.append(t.masked_fill(early.reshape(*early.shape, *(1,) * (t.dim() - 2)), 0))
    return found


def hidden(
    ages: Sequence[int], window: Window, count: int, slots: int, device: torch.device
) -> Tensor:
    """`[B, count, slots]`: which keys precede the beginning of their stream."""
    kernel, dilation = window.kernel[0], window.dilation[0]
    had = torch.tensor(ages, device=device)[:, None] + torch.arange(count, device=device)
    back = torch.arange(kernel - 1, -1, -1, device=device) * dilation
    near = (back > had[..., None]).repeat_interleave(prod(window.kernel[1:]), -1)
    extra = (had < 0)[..., None].expand(-1, -1, slots - near.shape[-1])
    return torch.cat([near, extra], -1)
