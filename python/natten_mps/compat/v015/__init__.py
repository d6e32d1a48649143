# SPDX-License-Identifier: MIT
"""NATTEN 0.15: split operations in one to three dimensions, with additional tokens."""

from .._common.capabilities import (
    has_bfloat,
    has_cuda,
    has_fp32_gemm,
    has_fp64_gemm,
    has_gemm,
    has_half,
    has_tf32_gemm,
)
from . import functional as functional
from . import nested as nested
from . import ops as ops
from . import utils as utils
from ._switches import (
    disable_gemm_na,
    disable_tf32,
    disable_tiled_na,
    enable_gemm_na,
    enable_tf32,
    enable_tiled_na,
)
from .natten1d import NeighborhoodAttention1D
from .natten2d import NeighborhoodAttention2D
from .natten3d import NeighborhoodAttention3D

__version__ = "0.15.1"

__all__ = [
    "NeighborhoodAttention1D",
    "NeighborhoodAttention2D",
    "NeighborhoodAttention3D",
    "disable_gemm_na",
    "disable_tf32",
    "disable_tiled_na",
    "enable_gemm_na",
    "enable_tf32",
    "enable_tiled_na",
    "has_bfloat",
    "has_cuda",
    "has_fp32_gemm",
    "has_fp64_gemm",
    "has_gemm",
    "has_half",
    "has_tf32_gemm",
]
