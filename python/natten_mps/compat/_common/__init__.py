# SPDX-License-Identifier: MIT
"""What the generations share."""
