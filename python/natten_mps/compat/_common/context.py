# SPDX-License-Identifier: MIT
"""Process-wide switches of 0.17 and later. They choose between CUDA kernels, whose results
agree, so that here they are only remembered."""

import logging
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ClassVar

import torch

Functions = dict[str, Callable[..., Any]]


class MemoryUsagePreference(Enum):
    """How much memory may be spent on parallelism in the backward pass."""

    Default = 0
    Strict = 1
    Unrestricted = 2


class Switches:
    """State on the class, which starts as the table INITIAL says."""

    INITIAL: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls) -> None:
        cls.reset()

    @classmethod
    def reset(cls) -> None:
        """Back to the initial values."""
        for name, value in cls.INITIAL.items():
            setattr(cls, name, value)


def getters(state: type[Switches], table: Mapping[str, str]) -> Functions:
    """Functions without parameters, {name: attribute}."""

    def make(name: str, attribute: str) -> Callable[..., Any]:
        def get() -> Any:
            return getattr(state, attribute)

        get.__name__ = get.__qualname__ = name
        get.__doc__ = f"What the process has set as {attribute}."
        return get

    return {name: make(name, attribute) for name, attribute in table.items()}


def setters(state: type[Switches], table: Mapping[str, tuple[str, Any]]) -> Functions:
    """Functions `f(mode=True)`, or without parameters where the table has a value:
    {name: (attribute, value)}; each returns the value."""

    def make(name: str, attribute: str, value: Any) -> Callable[..., Any]:
        def switch(mode: bool = True) -> bool:
            setattr(state, attribute, mode)
            return mode

        def fixed() -> Any:
            setattr(state, attribute, value)
            return value

        function: Callable[..., Any] = switch if value is None else fixed
        function.__name__ = function.__qualname__ = name
        function.__doc__ = f"Remembered as {attribute}."
        return function

    return {name: make(name, *entry) for name, entry in table.items()}


def common(state: Any, logger: logging.Logger) -> Functions:
    """The functions that all generations have."""

    def set_memory_usage_preference(pref: str = "default") -> None:
        """ "default", "strict" or "unrestricted"; remembered."""
        names = {preference.name.lower(): preference for preference in MemoryUsagePreference}
        if pref not in names:
            raise ValueError(f"Supported memory usage preferences are {list(names)}, got {pref!r}.")
        state.training_memory_preference = names[pref]

    def use_deterministic_algorithms(mode: bool = True) -> None:
        """Remembered: results are deterministic either way."""
        state.is_deterministic_mode_enabled = mode
        logger.warning("Deterministic mode is %s.", "enabled" if mode else "disabled")

    def use_kv_parallelism_in_fused_na(mode: bool = True) -> None:
        """Remembered. RuntimeError in deterministic mode, ignored in torch's."""
        if mode and torch.are_deterministic_algorithms_enabled():
            logger.warning(
                "PyTorch's deterministic mode is enabled; KV parallelism stays as it is."
            )
            return
        if mode and state.is_deterministic_mode_enabled:
            raise RuntimeError(
                "Deterministic mode is enabled, so KV parallelism cannot be; "
                "call use_deterministic_algorithms(False) first."
            )
        state.is_kv_parallelism_enabled = mode

    def preference(name: str) -> Callable[..., Any]:
        def is_memory_usage() -> bool:
            """Whether that is the preference."""
            return bool(state.training_memory_preference.name.lower() == name)

        is_memory_usage.__name__ = is_memory_usage.__qualname__ = f"is_memory_usage_{name}"
        return is_memory_usage

    table = {
        "get_memory_usage_preference": "training_memory_preference",
        "are_deterministic_algorithms_enabled": "is_deterministic_mode_enabled",
        "is_kv_parallelism_in_fused_na_enabled": "is_kv_parallelism_enabled",
    }
    made: list[Callable[..., Any]] = [set_memory_usage_preference, use_deterministic_algorithms,
            use_kv_parallelism_in_fused_na,
            *map(preference, ("default", "strict", "unrestricted"))]  # fmt: skip
    named: Functions = {f.__name__: f for f in made}
    for function in made:
        function.__qualname__ = function.__name__
    return named | getters(state, table)
