# SPDX-License-Identifier: MIT
"""A client that mypy and pyright accept in their strict modes (see test_types.py)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from typing_extensions import assert_type

import natten_mps
from natten_mps import (
    NeighborhoodAttention1D,
    NeighborhoodAttention2D,
    NeighborhoodAttention3D,
    get_backend,
    get_support_matrix,
    has_metal,
    has_mps,
    merge_attentions,
    na1d,
    na1d_av,
    na1d_packed,
    na1d_qk,
    na1d_varlen,
    na2d,
    na2d_varlen,
    na3d,
    na3d_varlen,
    set_backend,
    use_backend,
)

Both = tuple[Tensor, Tensor]
x = torch.zeros(1, 8, 2, 4)
y = torch.zeros(1, 8, 8, 2, 4)
z = torch.zeros(1, 8, 8, 8, 2, 4)
lens = torch.tensor([8])


def some(flag: bool) -> None:
    """Signatures whose result depends on a flag."""
    assert_type(na1d(x, x, x, 3), Tensor)
    assert_type(na2d(y, y, y, (3, 5), stride=[1, 2], is_causal=(True, False)), Tensor)
    assert_type(na3d(z, z, z, torch.Size([3, 3, 3]), return_lse=False), Tensor)
    assert_type(na1d(x, x, x, 3, return_lse=True), Both)
    assert_type(na2d(y, y, y, np.int64(3), 1, 1, False, None, True), Both)
    assert_type(na3d(z, z, z, 3, rpb=None, return_lse=True, window_stride=2), Both)
    assert_type(na2d(y, y, y, 3, return_lse=flag), Tensor | Both)
    assert_type(na1d_varlen(x, x, x, lens, 3), Tensor)
    assert_type(na1d_varlen(x, x, x, seq_lens=lens, kernel_size=3, return_lse=True), Both)
    assert_type(na2d_varlen(y, y, y, spatial_sizes=lens, kernel_size=3, return_lse=True), Both)
    assert_type(na3d_varlen(z, z, z, lens, 3, 1, 0.5), Tensor)
    assert_type(na1d_packed(x[0], x[0], x[0], lens, 3), Tensor)
    assert_type(na1d_packed(x[0], x[0], x[0], lens, 3, return_lse=True), Both)


logits = assert_type(na1d_qk(x, x, 3, scale=0.5), Tensor)
out = assert_type(na1d_av(logits.softmax(-1), x, 3), Tensor)
merged = assert_type(merge_attentions([x, x], [x[..., 0], x[..., 0]]), Both)
modules: list[torch.nn.Module] = [
    NeighborhoodAttention1D(8, 2, 3),
    NeighborhoodAttention2D(8, 2, kernel_size=(3, 5), num_kv_heads=1, window_stride=2),
    NeighborhoodAttention3D(8, 2, 3, qk_scale=0.1, rel_pos_bias=True),
]
function: Callable[[Tensor, Tensor, Tensor, int], Tensor] = na2d
rooted = assert_type(natten_mps.functional.na2d_qk(y, y, 3), Tensor)
name = assert_type(get_backend(), str)
answers = assert_type((has_metal(), has_mps()), tuple[bool, bool])
rows = [bool(row["available"]) for row in get_support_matrix().values()]
set_backend("auto")
with use_backend("pure"):
    version = assert_type(natten_mps.__version__, str)
try:
    out = na1d(x, x, x, 3)
except natten_mps.LibraryError as error:
    path = error.path
