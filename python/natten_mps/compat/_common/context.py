# SPDX-License-Identifier: MIT
"""Process-wide switches of 0.17 and later. They choose between CUDA kernels, whose results
agree, so that here they are only remembered."""

import logging
from enum import Enum

import torch


class MemoryUsagePreference(Enum):
    """How much memory may be spent on parallelism in the backward pass."""

    Default = 0
    Strict = 1
    Unrestricted = 2


class Switches:
    """State common to the generations, on the class. Subclasses set the initial values."""

    is_deterministic_mode_enabled: bool
    is_kv_parallelism_enabled: bool
    training_memory_preference: MemoryUsagePreference

    @classmethod
    def reset(cls) -> None:
        """Back to the initial values."""
        raise NotImplementedError

    @classmethod
    def set_kv_parallelism(cls, mode: bool, logger: logging.Logger) -> None:
        """Refused in deterministic mode, ignored in torch's."""
        if not mode:
            cls.is_kv_parallelism_enabled = False
        elif cls.is_deterministic_mode_enabled:
            raise RuntimeError(
                "Deterministic mode is enabled, so KV parallelism cannot be; "
                "call use_deterministic_algorithms(False) first."
            )
        elif torch.are_deterministic_algorithms_enabled():
            logger.warning(
                "PyTorch's deterministic mode is enabled; KV parallelism stays as it is."
            )
        else:
            cls.is_kv_parallelism_enabled = True

    @classmethod
    def set_deterministic(cls, mode: bool, logger: logging.Logger) -> None:
        """Remembers the mode; results are deterministic either way."""
        cls.is_deterministic_mode_enabled = mode
        logger.warning("Deterministic mode is %s.", "enabled" if mode else "disabled")

    @classmethod
    def set_memory_preference(cls, pref: str) -> None:
        """From "default", "strict" or "unrestricted"."""
        names = {preference.name.lower(): preference for preference in MemoryUsagePreference}
        if pref not in names:
            raise ValueError(f"Supported memory usage preferences are {list(names)}, got {pref!r}.")
        cls.training_memory_preference = names[pref]
