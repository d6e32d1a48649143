# SPDX-License-Identifier: MIT
"""Names the machine that a figure was measured on."""

import os
import platform
from pathlib import Path


def describe_machine() -> str:
    """Return the processor's name, the number of cores and the system."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        name = next((x.split(": ")[1] for x in lines if x.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
