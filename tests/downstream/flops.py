# SPDX-License-Identifier: MIT
"""Prints what upstream's flop counter says of a layer, as NAT's code asks it."""

import natten
import torch
from natten.flops import get_flops

layer = natten.NeighborhoodAttention2D(32, 4, 7)
print(int(get_flops(layer, torch.randn(1, 8, 8, 32), disable_warnings=True)))
