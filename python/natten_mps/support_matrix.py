# SPDX-License-Identifier: MIT
"""get_support_matrix, under the name that natten-mps has for its home."""

from .backend import get_support_matrix

__all__ = ["get_support_matrix"]
