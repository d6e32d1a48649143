# SPDX-License-Identifier: MIT
"""Prints the FLOPs of a layer by upstream's counter, called as in NAT's code: split or fused."""

import sys

import natten
import torch
from natten.flops import get_flops

if sys.argv[1] == "fused":
    natten.use_fused_na()
layer = natten.NeighborhoodAttention2D(32, 4, 7)
print(int(get_flops(layer, torch.randn(1, 8, 8, 32), disable_warnings=True)))
