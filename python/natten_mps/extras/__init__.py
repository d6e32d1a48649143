# SPDX-License-Identifier: MIT
"""Interfaces for specific applications."""
