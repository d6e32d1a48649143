# SPDX-License-Identifier: MIT
"""Parameters and window geometry."""
