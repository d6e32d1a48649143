# SPDX-License-Identifier: MIT
"""Names of upstream's backends that run without CUDA. The entry points of CUDA kernels are
left out: code that names one cannot run here in any case."""

from torch import Tensor

from ..._common.gna import flex, tensors
from .. import functional
from .configs import (
    get_bwd_configs_for_cutlass_blackwell_fmha as get_bwd_configs_for_cutlass_blackwell_fmha,
)
from .configs import (
    get_bwd_configs_for_cutlass_blackwell_fna as get_bwd_configs_for_cutlass_blackwell_fna,
)
from .configs import (
    get_bwd_configs_for_cutlass_fmha as get_bwd_configs_for_cutlass_fmha,
)
from .configs import (
    get_bwd_configs_for_cutlass_fna as get_bwd_configs_for_cutlass_fna,
)
from .configs import (
    get_bwd_configs_for_cutlass_hopper_fmha as get_bwd_configs_for_cutlass_hopper_fmha,
)
from .configs import (
    get_bwd_configs_for_cutlass_hopper_fna as get_bwd_configs_for_cutlass_hopper_fna,
)
from .configs import (
    get_configs_for_cutlass_blackwell_fmha as get_configs_for_cutlass_blackwell_fmha,
)
from .configs import (
    get_configs_for_cutlass_blackwell_fna as get_configs_for_cutlass_blackwell_fna,
)
from .configs import (
    get_configs_for_cutlass_fmha as get_configs_for_cutlass_fmha,
)
from .configs import (
    get_configs_for_cutlass_fna as get_configs_for_cutlass_fna,
)
from .configs import (
    get_configs_for_cutlass_hopper_fmha as get_configs_for_cutlass_hopper_fmha,
)
from .configs import (
    get_configs_for_cutlass_hopper_fna as get_configs_for_cutlass_hopper_fna,
)
from .configs import (
    get_configs_for_flex_fmha as get_configs_for_flex_fmha,
)
from .configs import (
    get_configs_for_flex_fna as get_configs_for_flex_fna,
)


def can_run_flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    torch_compile: bool,
    is_causal: bool = False,
    is_varlen: bool = False,
    raise_error: bool = False,
) -> bool:
    """Whether the functions below take the tensors."""
    check = tensors.fmha_tensor_checks if is_varlen else tensors.na_tensor_checks
    return check(query, key, value, raise_error=raise_error)


def choose_backend(query: Tensor, key: Tensor, value: Tensor, torch_compile: bool) -> str:
    """Upstream's name for what is not CUDA."""
    tensors.na_tensor_checks(query, key, value)
    return "flex-fna"


def choose_fmha_backend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_causal: bool,
    is_varlen: bool,
    torch_compile: bool,
) -> str:
    """Upstream's name for what is not CUDA."""
    tensors.fmha_tensor_checks(query, key, value)
    return "flex-fmha"


def get_compatible_backends(
    query: Tensor, key: Tensor, value: Tensor, torch_compile: bool
) -> list[str]:
    """Values of `backend` that are upstream's names for what is not CUDA."""
    return [choose_backend(query, key, value, torch_compile)]


def get_compatible_fmha_backends(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_causal: bool,
    is_varlen: bool,
    torch_compile: bool,
) -> list[str]:
    """Values of `backend` that are upstream's names for what is not CUDA."""
    tensors.fmha_tensor_checks(query, key, value)
    return ["flex-fmha"]


flex_fna_generic = na1d_flex = na2d_flex = na3d_flex = flex.flex_fna_generic


def flex_fmha(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_causal: bool = False,
    scale: float | None = None,
    q_tile_size: int | None = None,
    kv_tile_size: int | None = None,
    torch_compile: bool = False,
    return_lse: bool = False,
    cumulative_seqlen_Q: Tensor | None = None,
    cumulative_seqlen_KV: Tensor | None = None,
    max_seqlen_Q: int = 0,
    max_seqlen_KV: int = 0,
) -> Tensor | tuple[Tensor, Tensor]:
    """As `attention` with the backend "flex-fmha"."""
    return functional.attention(
        query,
        key,
        value,
        is_causal=is_causal,
        scale=scale,
        backend="flex-fmha",
        q_tile_size=q_tile_size,
        kv_tile_size=kv_tile_size,
        return_lse=return_lse,
        cumulative_seqlen_Q=cumulative_seqlen_Q,
        cumulative_seqlen_KV=cumulative_seqlen_KV,
        max_seqlen_Q=None if cumulative_seqlen_Q is None else max_seqlen_Q,
        max_seqlen_KV=None if cumulative_seqlen_KV is None else max_seqlen_KV,
    )
