# SPDX-License-Identifier: MIT
"""Code shared by several generations."""
