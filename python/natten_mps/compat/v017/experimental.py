# SPDX-License-Identifier: MIT
"""The fused operations again: here they are visible to torch.compile as they are."""

from . import functional

na1d = functional.na1d
na2d = functional.na2d
na3d = functional.na3d
