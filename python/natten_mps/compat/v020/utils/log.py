# SPDX-License-Identifier: MIT
"""Loggers."""

from ..._common import log

log_format = log.log_format
get_logger = log.get_logger
