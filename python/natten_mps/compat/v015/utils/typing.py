# SPDX-License-Identifier: MIT
"""A name for the type of None."""

NoneType = type(None)
