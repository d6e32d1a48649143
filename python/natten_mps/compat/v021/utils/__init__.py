# SPDX-License-Identifier: MIT
"""Checks and helpers, by submodule."""
