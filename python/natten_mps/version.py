# SPDX-License-Identifier: MIT
"""The version of this package; the build gives the same text to the library."""

__version__ = "0.5.0"
