# SPDX-License-Identifier: MIT
"""Process-wide switches of 0.17 and later. Upstream uses them to select among CUDA kernels with the
same results, so here they are only stored."""

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
    """Class-level state, initialized from the table INITIAL."""

    INITIAL: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls) -> None:
        cls.reset()

    @classmethod
    def reset(cls) -> None:
        """Restores the initial values."""
        for name, value in cls.INITIAL.items():
            setattr(cls, name, value)


def getters(state: type[Switches], table: Mapping[str, str]) -> Functions:
    """Makes getters without parameters from {name: attribute}."""

    def make(name: str, attribute: str) -> Callable[..., Any]:
        def get() -> Any:
            return getattr(state, attribute)

        get.__name__ = get.__qualname__ = name
        get.__doc__ = f"What the process has set as {attribute}."
        return get

    return {name: make(name, attribute) for name, attribute in table.items()}


def setters(state: type[Switches], table: Mapping[str, tuple[str, Any]]) -> Functions:
    """Makes setters from {name: (attribute, value)}. A setter is `f(mode=True)` or, if the table
    has a value, takes no parameters. It returns the value."""

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
    """Functions that all these generations have."""

    def set_memory_usage_preference(pref: str = "default") -> None:
        """Stores "default", "strict" or "unrestricted"; has no effect here."""
        names = {preference.name.lower(): preference for preference in MemoryUsagePreference}
        if pref not in names:
            raise ValueError(f"Supported memory usage preferences are {list(names)}, got {pref!r}.")
        state.training_memory_preference = names[pref]

    def use_deterministic_algorithms(mode: bool = True) -> None:
        """Stores the mode; results are always deterministic."""
        state.is_deterministic_mode_enabled = mode
        logger.warning("Deterministic mode is %s.", "enabled" if mode else "disabled")

    def use_kv_parallelism_in_fused_na(mode: bool = True) -> None:
        """Stores the mode. Enabling it raises RuntimeError in NATTEN's deterministic mode; in
        PyTorch's, it only logs a warning."""
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
            """Whether this is the stored preference."""
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
