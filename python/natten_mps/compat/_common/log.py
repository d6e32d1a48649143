# SPDX-License-Identifier: MIT
"""Loggers with upstream's format and environment variables."""

import logging
import sys
from enum import Enum

from .environment import parse_env_str

log_format = "| %(asctime)s | [[ %(name)s ]] [ %(levelname)s ]: %(message)s"


class LogLevel(Enum):
    """Values of NATTEN_LOG_LEVEL."""

    Default = 0
    Debug = 1
    Info = 2
    Warnings = 3
    Errors = 4
    Critical = 5


_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


def make_logger(name: str, handler: logging.Handler) -> logging.Logger:
    """A logger at the level of NATTEN_LOG_LEVEL (default: info)."""
    logger = logging.getLogger(name)
    logger.setLevel(_LEVELS.get(parse_env_str("NATTEN_LOG_LEVEL", "").strip().lower(), "INFO"))
    logger.propagate = False
    if not logger.handlers:
        handler.setFormatter(logging.Formatter(log_format))
        logger.addHandler(handler)
    return logger


def get_logger(name: str) -> logging.Logger:
    """A logger that writes to standard error, as in 0.17 and 0.20."""
    return make_logger(name, logging.StreamHandler(sys.stderr))
