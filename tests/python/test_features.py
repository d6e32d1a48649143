# SPDX-License-Identifier: MIT
"""Each row of README's table of features is true of this package (first column)."""

import re
from pathlib import Path

import pytest
import torch

import natten_mps as nm
from natten_mps import streaming
from natten_mps.compat import _served

ROOT = Path(__file__).resolve().parents[2]


def rows():
    text = (ROOT / "README.md").read_text()
    table = text[text.index("## Features") : text.index("## Programs")]
    cells = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return {row[0].strip(): row[1].strip() for row in cells[2:]}


def image(*shape, **options):
    return torch.randn(1, *shape, requires_grad=True, **options)


def sees(keys, **window):
    x = torch.zeros(1, 12, 1, 1)
    assert nm.na1d_qk(x, x, **window).isfinite().sum(-1).unique().tolist() == [keys]


def trains(rank, kernel_size, kv_heads=4, **options):
    shape = (8,) * rank
    q, k, v = image(*shape, 4, 8), image(*shape, kv_heads, 8), image(*shape, kv_heads, 8)
    with nm.use_backend("native"):
        getattr(nm, f"na{rank}d")(q, k, v, kernel_size, **options).sum().backward()
    assert all(t.grad.isfinite().all() for t in (q, k, v))


def shared_windows():
    x = torch.randn(1, 12, 1, 4)
    assert nm.na1d(x, x, x, 4, window_stride=2).shape == x.shape
    assert nm.na1d(x, x, x, 4, stride=2).shape == (1, 6, 1, 4)


def bias():
    for rank in (1, 2, 3):
        trains(rank, 3, rpb=torch.randn(4, *(5,) * rank))


def sizes():
    x, lengths = torch.randn(2, 12, 2, 4), torch.tensor([12, 7])
    options = {"is_causal": True, "dilation": 2}
    padded = nm.na1d_varlen(x, x, x, lengths, 3, **options)
    packed = torch.cat([x[0], x[1, :7]])
    offsets = torch.tensor([0, 12, 19], dtype=torch.int32)
    out = nm.na1d_packed(packed, packed, packed, offsets, 3, **options)
    torch.testing.assert_close(out[12:], padded[1, :7])


def compiled():
    x = torch.randn(1, 64, 4, 32)
    function = torch.compile(lambda x: nm.na1d(x, x, x, 7), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(function(x), nm.na1d(x, x, x, 7))


def double_backward():
    x = image(6, 1, 2, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda x: nm.na1d(x, x, x, 3), (x,))


def float64():
    x = torch.randn(1, 9, 1, 4, dtype=torch.float64)
    with nm.use_backend("native"):
        assert nm.na1d(x, x, x, 3).dtype == torch.float64


def releases():
    assert len(_served.versions()) == 18


def languages():
    for name in ("include/natten_mps.h", "include/natten_mps.hpp", "include/swift/Package.swift"):
        assert (ROOT / name).exists()


def streams():
    x, stream = torch.randn(1, 9, 2, 4), streaming.Stream()
    parts = [stream.step(t, t, t, kernel_size=3) for t in x.split(1, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), nm.na1d(x, x, x, 3, is_causal=True))


def shards():
    """As two processes would: each computes a part of the queries from the keys that it needs."""
    x = torch.randn(1, 12, 2, 4)
    first = nm.na1d(x[:, :6], x[:, :8], x[:, :8], 3, full_size=12)
    second = nm.na1d(x[:, 6:], x[:, 4:], x[:, 4:], 3, query_offset=6, key_offset=4, full_size=12)
    torch.testing.assert_close(torch.cat([first, second], 1), nm.na1d(x, x, x, 3))


CHECKS = {
    "Framework": lambda: trains(1, 3),
    "GPUs": lambda: nm.get_support_matrix()["metal"],
    "Forward on CPUs": lambda: trains(2, 3),
    "Backward on CPUs": lambda: trains(3, 3),
    "Even kernel sizes": lambda: (sees(4, kernel_size=4), trains(2, 4)),
    "NATTEN's stride (GNA)": shared_windows,
    "Output stride (downsampling)": shared_windows,
    "Relative position bias": bias,
    "Grouped-query heads": lambda: trains(2, 3, kv_heads=2),
    "Samples of different sizes": sizes,
    "`torch.compile` as one graph": compiled,
    "Double backward": double_backward,
    "float64": float64,
    "Older NATTEN APIs": releases,
    "C, C++, Swift, Go": languages,
    "Streaming, token by token": streams,
    "Sharded over processes": shards,
}


def test_every_row_has_a_check():
    assert rows().keys() == CHECKS.keys()
    assert not any(re.fullmatch(r"no|-", cell) for cell in rows().values())


@pytest.mark.parametrize("row", CHECKS)
def test_row(row):
    CHECKS[row]()
