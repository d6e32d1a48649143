# SPDX-License-Identifier: MIT
"""Loggers that write where NATTEN_LOG_PIPE says: stdout (default), stderr, or a file."""

import logging
import os
import sys
from functools import cache
from typing import TextIO

from ..._common import log

log_format = log.log_format


@cache
def _stream() -> TextIO:
    pipe = os.environ.get("NATTEN_LOG_PIPE", "stdout").strip()
    if pipe in ("", "stdout"):
        return sys.stdout
    return sys.stderr if pipe == "stderr" else open(pipe, "a", encoding="utf-8")


def get_logger(name: str) -> logging.Logger:
    """A logger at the level of NATTEN_LOG_LEVEL."""
    return log.make_logger(name, _stream())
