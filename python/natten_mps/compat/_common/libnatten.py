# SPDX-License-Identifier: MIT
"""What programs ask about upstream's extension of compiled kernels."""

from .capabilities import has_compiled_kernels

#: Whether compiled kernels serve the operations, as programs that ask want to know.
HAS_LIBNATTEN = has_compiled_kernels()
