# SPDX-License-Identifier: MIT
"""Environment variables."""

import os

import torch


def parse_env_str(env_var: str, default: str) -> str:
    """The variable's text, or the default."""
    return os.environ.get(env_var, default)


def parse_env_int(env_var: str, default: int) -> int:
    """The variable's number; the default if it is unset or no number."""
    text = os.environ.get(env_var, "")
    return int(text) if text.strip().lstrip("-").isdigit() else default


def parse_env_flag(env_var: str, default: bool) -> bool:
    """Whether the variable is a number other than 0."""
    return bool(parse_env_int(env_var, int(default)))


def is_torch_compiling() -> bool:
    """Whether torch.compile is tracing."""
    return torch.compiler.is_compiling()
