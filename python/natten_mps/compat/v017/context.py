# SPDX-License-Identifier: MIT
"""What the installation can do, and switches. Only `use_fused_na` changes which operations
the modules call; the others steer CUDA kernels and are remembered."""

from typing import Any

import torch

from .._common import capabilities
from .._common.context import MemoryUsagePreference, Switches
from .utils.log import get_logger

logger = get_logger(__name__)

has_cuda = capabilities.has_cuda
has_half = capabilities.has_half
has_bfloat = capabilities.has_bfloat
has_gemm = capabilities.has_gemm
has_tf32_gemm = capabilities.has_tf32_gemm
has_fp32_gemm = capabilities.has_fp32_gemm
has_fp64_gemm = capabilities.has_fp64_gemm


def has_fna(device_index: Any = None) -> bool:
    """The fused operations work on every device."""
    return True


has_fused_na = has_fna


class NattenContext(Switches):
    """State of the switches."""

    @classmethod
    def reset(cls) -> None:
        """Back to the initial values."""
        cls.is_deterministic_mode_enabled = False
        cls.is_kv_parallelism_enabled = False
        cls.training_memory_preference = MemoryUsagePreference.Default
        cls.is_fused_na_enabled = False
        cls.use_flex_attention = False
        cls.force_flex_attention = False
        cls.is_tiled_na_enabled = True
        cls.is_gemm_na_enabled = True
        cls.is_tf32_in_gemm_na_enabled = False

    is_fused_na_enabled: bool
    use_flex_attention: bool
    force_flex_attention: bool
    is_tiled_na_enabled: bool
    is_gemm_na_enabled: bool
    is_tf32_in_gemm_na_enabled: bool


class AutotunerContext:
    """State of the autotuner's switches."""

    @classmethod
    def reset(cls) -> None:
        """Back to the initial values."""
        cls.enabled_for_forward = False
        cls.enabled_for_backward = False
        cls.thorough_for_forward = False
        cls.thorough_for_backward = False
        cls.warmup_steps_forward = 5
        cls.warmup_steps_backward = 5
        cls.steps_forward = 5
        cls.steps_backward = 5

    enabled_for_forward: bool
    enabled_for_backward: bool
    thorough_for_forward: bool
    thorough_for_backward: bool
    warmup_steps_forward: int
    warmup_steps_backward: int
    steps_forward: int
    steps_backward: int


NattenContext.reset()
AutotunerContext.reset()


def is_fused_na_enabled() -> bool:
    """Whether the modules use the fused operations."""
    return NattenContext.is_fused_na_enabled


is_fna_enabled = is_fused_na_enabled


def use_fused_na(
    mode: bool = True,
    kv_parallel: bool = True,
    use_flex_attention: bool = False,
    force_flex_attention: bool = False,
) -> None:
    """Lets the modules use the fused operations, or not."""
    NattenContext.is_fused_na_enabled = mode
    NattenContext.use_flex_attention = mode and (use_flex_attention or force_flex_attention)
    NattenContext.force_flex_attention = mode and force_flex_attention
    if mode:
        logger.info("Fused neighborhood attention is now enabled.")
        if kv_parallel and not NattenContext.is_deterministic_mode_enabled:
            use_kv_parallelism_in_fused_na(True)


use_fna = use_fused_na


def use_flex_attention() -> None:
    """Enables the fused operations."""
    use_fused_na(use_flex_attention=True)


def force_flex_attention() -> None:
    """Enables the fused operations."""
    use_fused_na(use_flex_attention=True, force_flex_attention=True)


def is_kv_parallelism_in_fused_na_enabled() -> bool:
    """What :func:`use_kv_parallelism_in_fused_na` was told."""
    return NattenContext.is_kv_parallelism_enabled


def use_kv_parallelism_in_fused_na(mode: bool = True) -> None:
    """Remembered. RuntimeError in deterministic mode, ignored in torch's."""
    NattenContext.set_kv_parallelism(mode, logger)


def are_deterministic_algorithms_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was told."""
    return NattenContext.is_deterministic_mode_enabled


def use_deterministic_algorithms(mode: bool = True) -> None:
    """Remembered: results are deterministic either way."""
    NattenContext.set_deterministic(mode, logger)


def set_memory_usage_preference(pref: str = "default") -> None:
    """ "default", "strict" or "unrestricted"; remembered."""
    NattenContext.set_memory_preference(pref)


def get_memory_usage_preference() -> MemoryUsagePreference:
    """What :func:`set_memory_usage_preference` was told."""
    return NattenContext.training_memory_preference


def is_memory_usage_default() -> bool:
    """Whether the preference is "default"."""
    return get_memory_usage_preference() == MemoryUsagePreference.Default


def is_memory_usage_strict() -> bool:
    """Whether the preference is "strict"."""
    return get_memory_usage_preference() == MemoryUsagePreference.Strict


def is_memory_usage_unrestricted() -> bool:
    """Whether the preference is "unrestricted"."""
    return get_memory_usage_preference() == MemoryUsagePreference.Unrestricted


def is_tf32_in_gemm_na_enabled() -> bool:
    """Whether TF32 is in use."""
    return NattenContext.is_tf32_in_gemm_na_enabled


def is_tiled_na_enabled() -> bool:
    """What :func:`use_tiled_na` was told."""
    return NattenContext.is_tiled_na_enabled


def is_gemm_na_enabled() -> bool:
    """What :func:`use_gemm_na` was told."""
    return NattenContext.is_gemm_na_enabled


def use_tf32_in_gemm_na(mode: bool = True) -> bool:
    """Returns False: there are no TF32 kernels."""
    return is_tf32_in_gemm_na_enabled()


def use_tiled_na(mode: bool = True) -> bool:
    """Remembered."""
    NattenContext.is_tiled_na_enabled = mode
    return mode


def use_gemm_na(mode: bool = True) -> bool:
    """Remembered."""
    NattenContext.is_gemm_na_enabled = mode
    return mode


def enable_tf32() -> bool:
    """Older name of use_tf32_in_gemm_na(True)."""
    return use_tf32_in_gemm_na(True)


def disable_tf32() -> bool:
    """Older name of use_tf32_in_gemm_na(False)."""
    return use_tf32_in_gemm_na(False)


def enable_tiled_na() -> bool:
    """Older name of use_tiled_na(True)."""
    return use_tiled_na(True)


def disable_tiled_na() -> bool:
    """Older name of use_tiled_na(False)."""
    return use_tiled_na(False)


def enable_gemm_na() -> bool:
    """Older name of use_gemm_na(True)."""
    return use_gemm_na(True)


def disable_gemm_na() -> bool:
    """Older name of use_gemm_na(False)."""
    return use_gemm_na(False)


def is_autotuner_enabled_for_forward() -> bool:
    """What :func:`use_autotuner` was told."""
    return AutotunerContext.enabled_for_forward


def is_autotuner_enabled_for_backward() -> bool:
    """What :func:`use_autotuner` was told."""
    return AutotunerContext.enabled_for_backward


def is_autotuner_enabled() -> bool:
    """Whether it is enabled for either direction."""
    return is_autotuner_enabled_for_forward() or is_autotuner_enabled_for_backward()


def is_autotuner_thorough_for_forward() -> bool:
    """What :func:`use_autotuner` was told."""
    return AutotunerContext.thorough_for_forward


def is_autotuner_thorough_for_backward() -> bool:
    """What :func:`use_autotuner` was told."""
    return AutotunerContext.thorough_for_backward


def use_autotuner(
    forward_pass: bool | None = None,
    backward_pass: bool | None = None,
    thorough_mode_forward: bool | None = None,
    thorough_mode_backward: bool | None = None,
    warmup_steps_forward: int | None = None,
    warmup_steps_backward: int | None = None,
    steps_forward: int | None = None,
    steps_backward: int | None = None,
) -> None:
    """Remembered: there is nothing to tune. None leaves a setting as it is."""
    if NattenContext.is_deterministic_mode_enabled or torch.are_deterministic_algorithms_enabled():
        raise RuntimeError("The autotuner cannot be used in deterministic mode.")
    switches = {
        "enabled_for_forward": forward_pass,
        "enabled_for_backward": backward_pass,
        "thorough_for_forward": thorough_mode_forward,
        "thorough_for_backward": thorough_mode_backward,
    }
    steps = {
        "warmup_steps_forward": warmup_steps_forward,
        "warmup_steps_backward": warmup_steps_backward,
        "steps_forward": steps_forward,
        "steps_backward": steps_backward,
    }
    for settings, kind in ((switches, bool), (steps, int)):
        for name, value in settings.items():
            if value is not None and type(value) is not kind:
                raise ValueError(f"Expected {name} to be {kind.__name__}, got {value!r}.")
    for name, value in (switches | steps).items():
        if value is not None:
            setattr(AutotunerContext, name, value)


def disable_autotuner() -> None:
    """Undoes :func:`use_autotuner`."""
    AutotunerContext.enabled_for_forward = False
    AutotunerContext.enabled_for_backward = False
