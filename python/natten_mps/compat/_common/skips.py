# SPDX-License-Identifier: MIT
"""Decorator factories that skip tests of features that this package does not have."""

import importlib.util
from collections.abc import Callable
from typing import Any
from unittest import skipIf

import torch

from . import environment

Decorator = Callable[[Any], Any]


def _skips(name: str, condition: bool, reason: str) -> Callable[[], Decorator]:
    def skip() -> Decorator:
        return skipIf(condition, reason)

    skip.__name__ = skip.__qualname__ = name
    skip.__doc__ = f"Skips if this holds: {reason}" if condition else "Never skips."
    return skip


# {feature: whether it is missing here}
_MISSING = {
    "cuda_is_not_supported": True,
    "gemm_is_not_supported": True,
    "gemm_does_not_support_double_precision": True,
    "fna_is_not_supported": False,
    "nested_is_not_supported": not hasattr(torch, "nested"),
    "libnatten_is_not_supported": True,
    "flex_is_not_supported": False,
    "flex_compile_is_not_supported": True,
    "hopper_kernels_not_supported": True,
    "blackwell_kernels_not_supported": True,
    "experimental_ops_are_not_supported": False,
    "torch_compile_is_not_supported": False,
    "torch_flop_count_is_not_supported": True,
    "triton_is_not_supported": importlib.util.find_spec("triton") is None,
    "fvcore_is_not_available": importlib.util.find_spec("fvcore") is None,
    "not_running_extended_tests": not environment._RUN_EXTENDED_TESTS,
}
globals().update(
    {
        f"skip_if_{what}": _skips(f"skip_if_{what}", missing, what.replace("_", " ") + ".")
        for what, missing in _MISSING.items()
    }
)


def fna_supports_additional_kv(head_dim: int, device_index: Any = None) -> bool:
    """Returns True: fused operations accept additional keys and values everywhere."""
    return True


def supports_float16(device: torch.device) -> bool:
    """Returns True: float16 works on every device."""
    return True


def supports_bfloat16(device: torch.device) -> bool:
    """Returns True: bfloat16 works on every device."""
    return True
