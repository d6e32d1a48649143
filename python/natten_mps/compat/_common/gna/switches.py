# SPDX-License-Identifier: MIT
"""Switches that steer CUDA kernels and the compilation of Flex Attention. There is neither
here, so that they are only remembered."""

from ..context import MemoryUsagePreference as MemoryUsagePreference
from ..context import Switches
from ..log import get_logger

logger = get_logger("natten.context")


class NattenContext(Switches):
    """State of the switches."""

    flex_compile_allowed: bool
    flex_compile_backprop_allowed: bool

    @classmethod
    def reset(cls) -> None:
        """Back to the initial values."""
        cls.is_deterministic_mode_enabled = False
        cls.is_kv_parallelism_enabled = True
        cls.training_memory_preference = MemoryUsagePreference.Default
        cls.flex_compile_allowed = False
        cls.flex_compile_backprop_allowed = False


NattenContext.reset()


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


def use_deterministic_algorithms(mode: bool = True) -> None:
    """Remembered: results are deterministic either way."""
    NattenContext.set_deterministic(mode, logger)


def are_deterministic_algorithms_enabled() -> bool:
    """What :func:`use_deterministic_algorithms` was told."""
    return NattenContext.is_deterministic_mode_enabled


def use_kv_parallelism_in_fused_na(mode: bool = True) -> None:
    """Remembered. RuntimeError in deterministic mode, ignored in torch's."""
    NattenContext.set_kv_parallelism(mode, logger)


def is_kv_parallelism_in_fused_na_enabled() -> bool:
    """What :func:`use_kv_parallelism_in_fused_na` was told."""
    return NattenContext.is_kv_parallelism_enabled


def is_flex_compile_allowed() -> bool:
    """What :func:`allow_flex_compile` was told."""
    return NattenContext.flex_compile_allowed


def is_flex_compile_backprop_allowed() -> bool:
    """What :func:`allow_flex_compile_backprop` was told."""
    return NattenContext.flex_compile_backprop_allowed


def allow_flex_compile(mode: bool = True, backprop: bool = False) -> None:
    """Remembered."""
    NattenContext.flex_compile_allowed = mode
    allow_flex_compile_backprop(backprop)


def allow_flex_compile_backprop(mode: bool = True) -> None:
    """Remembered. Allows compiling forward passes as well."""
    NattenContext.flex_compile_backprop_allowed = mode
    NattenContext.flex_compile_allowed = NattenContext.flex_compile_allowed or mode


def disable_flex_compile() -> None:
    """Undoes :func:`allow_flex_compile`."""
    NattenContext.flex_compile_allowed = False
    NattenContext.flex_compile_backprop_allowed = False


def disable_flex_compile_backprop() -> None:
    """Undoes :func:`allow_flex_compile_backprop`."""
    NattenContext.flex_compile_backprop_allowed = False
