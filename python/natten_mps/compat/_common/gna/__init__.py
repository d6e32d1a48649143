# SPDX-License-Identifier: MIT
"""What 0.20 and 0.21 share: generalized neighborhood attention, heads last."""
