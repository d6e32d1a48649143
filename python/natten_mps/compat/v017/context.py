# SPDX-License-Identifier: MIT
"""Capabilities of the installation, and switches. Only `use_fused_na` changes which operations the
modules call; the others tune CUDA kernels in upstream and are only stored here."""

from typing import Any, ClassVar

import torch

from .. import _served
from .._common import context
from .._common.context import MemoryUsagePreference
from .._common.log import get_logger

logger = get_logger("natten.context")


class NattenContext(context.Switches):
    """State of the switches."""

    INITIAL: ClassVar = {
        "is_deterministic_mode_enabled": False,
        "is_kv_parallelism_enabled": False,
        "training_memory_preference": MemoryUsagePreference.Default,
        "is_fused_na_enabled": False,
        "use_flex_attention": False,
        "force_flex_attention": False,
        "is_tiled_na_enabled": True,
        "is_gemm_na_enabled": True,
        "is_tf32_in_gemm_na_enabled": False,
    }


class AutotunerContext(context.Switches):
    """State of the autotuner's switches."""

    INITIAL: ClassVar = {
        "enabled_for_forward": False,
        "enabled_for_backward": False,
        "thorough_mode_forward": False,
        "thorough_mode_backward": False,
        "warmup_steps_forward": 5,
        "warmup_steps_backward": 5,
        "steps_forward": 5,
        "steps_backward": 5,
    }


_STATE: Any = NattenContext
_TUNER: Any = AutotunerContext
_COMMON = context.common(NattenContext, logger)
globals().update(_COMMON)
globals().update(
    context.getters(
        NattenContext,
        {
            "should_use_flex_attention": "use_flex_attention",
            "should_force_flex_attention": "force_flex_attention",
            "is_tf32_in_gemm_na_enabled": "is_tf32_in_gemm_na_enabled",
            "is_tiled_na_enabled": "is_tiled_na_enabled",
            "is_gemm_na_enabled": "is_gemm_na_enabled",
        },
    )
)
globals().update(
    context.getters(
        AutotunerContext,
        {
            "is_autotuner_enabled_for_forward": "enabled_for_forward",
            "is_autotuner_enabled_for_backward": "enabled_for_backward",
            "is_autotuner_thorough_for_forward": "thorough_mode_forward",
            "is_autotuner_thorough_for_backward": "thorough_mode_backward",
        },
    )
)
globals().update(
    context.setters(
        NattenContext,
        {
            "use_tiled_na": ("is_tiled_na_enabled", None),
            "enable_tiled_na": ("is_tiled_na_enabled", True),
            "disable_tiled_na": ("is_tiled_na_enabled", False),
            "use_gemm_na": ("is_gemm_na_enabled", None),
            "enable_gemm_na": ("is_gemm_na_enabled", True),
            "disable_gemm_na": ("is_gemm_na_enabled", False),
            "enable_tf32": ("is_tf32_in_gemm_na_enabled", False),
            "disable_tf32": ("is_tf32_in_gemm_na_enabled", False),
        },
    )
)


def use_tf32_in_gemm_na(mode: bool = True) -> bool:
    """Returns False: there are no TF32 kernels."""
    return False


def has_fna(device_index: Any = None) -> bool:
    """Returns True: the fused operations work on every device."""
    return True


has_fused_na = has_fna


def is_fused_na_enabled() -> bool:
    """Whether the modules use the fused operations."""
    return bool(_STATE.is_fused_na_enabled)


is_fna_enabled = is_fused_na_enabled


def use_fused_na(
    mode: bool = True,
    kv_parallel: bool = True,
    use_flex_attention: bool = False,
    force_flex_attention: bool = False,
) -> None:
    """Makes the modules use the fused operations, or not. Sets KV parallelism as well; requesting
    it raises RuntimeError in deterministic mode."""
    _STATE.is_fused_na_enabled = mode
    _STATE.use_flex_attention = mode and (use_flex_attention or force_flex_attention)
    _STATE.force_flex_attention = mode and force_flex_attention
    if mode:
        logger.info("Fused neighborhood attention is now enabled.")
    _COMMON["use_kv_parallelism_in_fused_na"](mode and kv_parallel)


use_fna = use_fused_na


def use_flex_attention() -> None:
    """Enables the fused operations."""
    use_fused_na(use_flex_attention=True)


def force_flex_attention() -> None:
    """Enables the fused operations."""
    use_fused_na(use_flex_attention=True, force_flex_attention=True)


def is_autotuner_enabled() -> bool:
    """Whether the autotuner is enabled for either direction."""
    return bool(_TUNER.enabled_for_forward or _TUNER.enabled_for_backward)


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
    """Stores the settings: there is nothing to tune. None keeps a setting. Enabling the
    autotuner raises RuntimeError in NATTEN's deterministic mode; in PyTorch's, it only logs a
    warning."""
    switches = {
        "enabled_for_forward": forward_pass,
        "enabled_for_backward": backward_pass,
        "thorough_mode_forward": thorough_mode_forward,
        "thorough_mode_backward": thorough_mode_backward,
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
    if forward_pass or backward_pass:
        if torch.are_deterministic_algorithms_enabled():
            logger.warning("PyTorch's deterministic mode is enabled; the autotuner stays as it is.")
            return
        if _STATE.is_deterministic_mode_enabled:
            raise RuntimeError("The autotuner cannot be used in deterministic mode.")
    for name, value in (switches | steps).items():
        if value is not None:
            setattr(AutotunerContext, name, value)


def disable_autotuner() -> None:
    """Undoes :func:`use_autotuner`."""
    for name in ("enabled_for_forward", "enabled_for_backward", "thorough_mode_forward",
                 "thorough_mode_backward"):  # fmt: skip
        setattr(AutotunerContext, name, False)


_served.fill(_served.literal("v017"), "natten.context", globals())
