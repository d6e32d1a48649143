# SPDX-License-Identifier: MIT
"""A client each of whose lines below the marker mypy and pyright refuse (see test_types.py)."""

import torch
from torch import Tensor

import natten_mps as nm

x = torch.zeros(1, 8, 2, 4)
n = torch.tensor([8])
# every line from here on is an error
a: Tensor = nm.na1d(x, x, x, 3, return_lse=True)
b: tuple[Tensor, Tensor] = nm.na1d(x, x, x, 3)
c: tuple[Tensor, Tensor] = nm.na2d(x, x, x, 3, 1, 1, False, None, False)
nm.na1d(x, x, x)
nm.na1d(x, x, x, "3")
nm.na1d(x, x, x, 3.0)
nm.na1d(x, x, x, (3, 3.5))
nm.na1d(x, x, x, {3})
nm.na1d([1.0], x, x, 3)
nm.na2d(x, x, x, 3, is_causal="yes")
nm.na2d(x, x, x, 3, scale="0.5")
nm.na2d(x, x, x, 3, kernel_sise=3)
nm.na2d(x, x, x, 3, window_stride=None)
nm.na3d(x, x, x, 3, return_lse="yes")
nm.na3d(x, x, x, 3, 1, 1, False, None, False, None, None, None)
nm.na1d_qk(x, x, 3, 1, 1)
nm.na1d_av(x, 3)
nm.na1d_varlen(x, x, x, [8], 3)
nm.na1d_varlen(x, x, x, spatial_sizes=n, kernel_size=3)
nm.na2d_varlen(x, x, x, seq_lens=n, kernel_size=3)
d: Tensor = nm.na2d_varlen(x, x, x, n, 3, return_lse=True)
e: Tensor = nm.na1d_packed(x, x, x, n, 3, return_lse=True)
nm.na1d_packed(x, x, x, n, 3, additional_keys=x)
f: Tensor = nm.merge_attentions([x], [x])
nm.merge_attentions(x, 3)
nm.set_backend(3)
nm.use_backend()
g: int = nm.get_backend()
nm.get_support_matrix("pure")
nm.NeighborhoodAttention2D(8, 2)
nm.NeighborhoodAttention2D(8, 2, "3")
nm.NeighborhoodAttention2D(8, 2, 3, rel_pos_bias=3)
nm.na4d(x, x, x, 3)
nm.functional.na1d(x)
