# SPDX-License-Identifier: MIT
"""The version that this generation stands for, unless another was activated."""

__version__ = "0.20.1"
