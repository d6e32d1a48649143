# SPDX-License-Identifier: MIT
"""Checks and helpers, by submodule."""

from . import checks as checks
from . import log as log
