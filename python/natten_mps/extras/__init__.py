# SPDX-License-Identifier: MIT
"""Interfaces of single applications."""
