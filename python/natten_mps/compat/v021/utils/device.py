# SPDX-License-Identifier: MIT
"""Questions about devices."""

import torch

from ..._common import capabilities

get_device_cc = capabilities.get_device_cc


def is_cuda(device: torch.device) -> bool:
    """An NVIDIA GPU."""
    return device.type == "cuda" and torch.version.hip is None


def is_rocm(device: torch.device) -> bool:
    """An AMD GPU."""
    return device.type == "cuda" and torch.version.hip is not None


def is_cpu(device: torch.device) -> bool:
    """The CPU."""
    return device.type == "cpu"
