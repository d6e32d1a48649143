# SPDX-License-Identifier: MIT
"""Code shared by 0.20 and 0.21: generalized neighborhood attention, heads last."""
