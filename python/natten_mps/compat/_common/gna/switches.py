# SPDX-License-Identifier: MIT
"""Switches for CUDA kernels and for compiling Flex Attention. This package has neither, so the
switches are only stored."""

from typing import Any, ClassVar

from .. import context
from ..context import MemoryUsagePreference
from ..log import get_logger


class NattenContext(context.Switches):
    """State of the switches."""

    INITIAL: ClassVar = {
        "is_deterministic_mode_enabled": False,
        "is_kv_parallelism_enabled": True,
        "training_memory_preference": MemoryUsagePreference.Default,
        "flex_compile_allowed": False,
        "flex_compile_backprop_allowed": False,
    }


_STATE: Any = NattenContext
globals().update(context.common(NattenContext, get_logger("natten.context")))
globals().update(
    context.getters(
        NattenContext,
        {
            "is_flex_compile_allowed": "flex_compile_allowed",
            "is_flex_compile_backprop_allowed": "flex_compile_backprop_allowed",
        },
    )
)


def allow_flex_compile(mode: bool = True, backprop: bool = False) -> None:
    """Stores the setting; has no effect here."""
    _STATE.flex_compile_allowed = mode
    allow_flex_compile_backprop(backprop)


def allow_flex_compile_backprop(mode: bool = True) -> None:
    """Stores the setting, and allows compiling forward passes as well; has no effect here."""
    _STATE.flex_compile_backprop_allowed = mode
    _STATE.flex_compile_allowed = _STATE.flex_compile_allowed or mode


def disable_flex_compile() -> None:
    """Undoes :func:`allow_flex_compile`."""
    _STATE.flex_compile_allowed = False
    _STATE.flex_compile_backprop_allowed = False


def disable_flex_compile_backprop() -> None:
    """Undoes :func:`allow_flex_compile_backprop`."""
    _STATE.flex_compile_backprop_allowed = False
