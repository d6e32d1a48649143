# SPDX-License-Identifier: MIT
"""The hub kernel "shi-labs/natten" as the ``kernels`` package loads it from a local folder.

It has the API of NATTEN 0.21, whatever version of ``natten`` is active: programs that load it
from the hub never import ``natten``.
"""

from natten_mps.compat import v021
from natten_mps.compat.v021 import *  # noqa: F403

__all__ = list(v021.__all__)
