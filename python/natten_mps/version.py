# SPDX-License-Identifier: MIT
"""The version of this package; the build sets the same version in the library."""

__version__ = "0.5.0"
