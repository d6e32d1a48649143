# SPDX-License-Identifier: MIT
"""get_support_matrix, in the module where natten-mps 0.3.3 has it."""

from .backend import get_support_matrix

__all__ = ["get_support_matrix"]
