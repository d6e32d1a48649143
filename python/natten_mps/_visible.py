# SPDX-License-Identifier: MIT
"""Which keys queries see. Public as `natten_mps.viz.visible_keys`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from . import ops
from .utils.params import Ints, normalize_causal, normalize_kernel_size, normalize_positive
from .utils.window import Window


def visible_keys(
    length: int | Sequence[int],
    kernel_size: Ints,
    dilation: Ints = 1,
    stride: Ints = 1,
    is_causal: bool | Sequence[bool] = False,
) -> Tensor:
    """Return which keys each query sees: those with nonzero weight if all logits are equal.

    Args:
        length: number of tokens, one value or one per axis.
        kernel_size: window size in keys; window parameters take one value or one per axis.
        dilation: step between neighboring keys of a window.
        stride: number of queries that share a window (`window_stride` of the functions).
        is_causal: if true, a query does not see keys after its own position.

    Returns:
        bool `[*S, *S]`, queries first.

    Examples:
        >>> from natten_mps import viz
        >>> viz.visible_keys(4, 3).int().tolist()
        [[1, 1, 1, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 1]]
    """
    lengths = (length,) if isinstance(length, int) else tuple(length)
    rank = len(lengths)
    window = Window(
        normalize_kernel_size(kernel_size, rank),
        normalize_positive(dilation, rank, "dilation"),
        normalize_positive(stride, rank, "stride"),
        (1,) * rank,
        normalize_causal(is_causal, rank),
    )
    count = torch.tensor(lengths).prod().item()
    value = torch.eye(int(count)).reshape(1, *lengths, 1, int(count))
    zero = torch.zeros(1, *lengths, 1, 1)
    weights, _ = ops.attn(zero, zero, value, window=window)
    return (weights > 0).reshape(*lengths, *lengths)
