# SPDX-License-Identifier: MIT
"""Loggers with upstream's format and environment variables."""

import logging
import os
import sys
from typing import TextIO

log_format = "| %(asctime)s | [[ %(name)s ]] [ %(levelname)s ]: %(message)s"

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}


def make_logger(name: str, stream: TextIO | None) -> logging.Logger:
    """A logger at the level of NATTEN_LOG_LEVEL (default: info) that writes to the stream."""
    logger = logging.getLogger(name)
    level = os.environ.get("NATTEN_LOG_LEVEL", "").strip().lower()
    logger.setLevel(_LEVELS.get(level, logging.INFO))
    logger.propagate = False
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr if stream is None else stream)
        handler.setFormatter(logging.Formatter(log_format))
        logger.addHandler(handler)
    return logger


def get_logger(name: str) -> logging.Logger:
    """A logger that writes to the standard error stream, as 0.17 and 0.20 do."""
    return make_logger(name, None)
