# SPDX-License-Identifier: MIT
"""Loggers of 0.21, which write to NATTEN_LOG_PIPE: stdout (default), stderr or a file."""

import logging
import os
import sys
from functools import cache
from typing import Any

from .. import log
from ..environment import is_torch_compiling, parse_env_str

_STREAMS = {"": "stdout", "stdout": "stdout", "stderr": "stderr"}


def _get_log_pipe() -> Any:
    """A stream, the path of a writable file, or None to disable logging."""
    pipe = parse_env_str("NATTEN_LOG_PIPE", "stdout").strip()
    if pipe.lower() in _STREAMS:
        return getattr(sys, _STREAMS[pipe.lower()])
    if pipe == os.devnull:
        return None
    try:
        open(pipe, "a", encoding="utf-8").close()
    except OSError:
        return None
    return pipe


def _handler() -> logging.Handler:
    pipe = _get_log_pipe()
    if pipe is None:
        return logging.NullHandler()
    if isinstance(pipe, str):
        return logging.FileHandler(pipe, encoding="utf-8")
    return logging.StreamHandler(pipe)


class NattenLogger:
    """A logger that is silent while torch.compile is tracing."""

    def __init__(self, name: str) -> None:
        self.logger = log.make_logger(name, _handler())
        self.handler = self.logger.handlers[0]
        self.log_level, self.formatter = self.logger.level, self.handler.formatter

    def is_safe_to_log(self) -> bool:
        """Whether torch.compile is not tracing."""
        return not is_torch_compiling()

    def __getattr__(self, name: str) -> Any:
        """Returns a method of logging.Logger."""
        return getattr(self.logger, name) if self.is_safe_to_log() else _nothing


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Ignores a log message."""


@cache
def get_logger(name: str) -> NattenLogger:
    """The logger with that name, at the level of NATTEN_LOG_LEVEL."""
    return NattenLogger(name)
