# SPDX-License-Identifier: MIT
"""The fused operations under the names of the Flex Attention backend."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from .._common.ranked import ranked
from . import functional
from .functional import MaybeTensor


def can_run_flex_attention(input_shape: Sequence[int]) -> bool:
    """Returns True: the `flex_na*d` functions accept query, key and value of any such shape."""
    return len(input_shape) in (4, 5, 6)


def _flex(rank: int) -> Callable[..., Tensor]:
    operation = getattr(functional, f"na{rank}d")

    def flex(
        query: Tensor, key: Tensor, value: Tensor, kernel_size: Any, dilation: Any = 1,
        is_causal: Any = False, additional_keys: MaybeTensor = None,
        additional_values: MaybeTensor = None, xformers_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:  # fmt: skip
        """Same as the fused operation, without bias or scale."""
        window = (kernel_size, dilation, is_causal)
        more = (additional_keys, additional_values, xformers_kwargs)
        out: Tensor = operation(query, key, value, *window, None, None, *more)
        return out

    return flex


flex_na1d, flex_na2d, flex_na3d = ranked("flex_na{}d", _flex)
