# SPDX-License-Identifier: MIT
"""The tables that `pure` caches between calls are limited by their size in bytes."""

import pytest
import torch

import natten_mps as nm
from natten_mps import pure
from natten_mps._kept import Kept


def test_the_longest_unused_goes_first():
    kept, made = Kept(10, len), []

    def get(key, size=4):
        return kept.get(key, lambda: made.append(key) or "x" * size)

    for key in "abacba":
        assert get(key) == "xxxx"
    # c evicted b, then b evicted a
    assert "".join(made) == "abcba"
    assert kept.bytes == 8


def test_what_is_too_large_is_made_each_time():
    kept, made = Kept(10, len), []
    for _ in range(2):
        assert len(kept.get("k", lambda: made.append(1) or "x" * 11)) == 11
    assert len(made) == 2
    assert kept.bytes == 0


def test_what_is_too_large_drives_nothing_out():
    kept, made = Kept(10, len), []
    for key, size in (("small", 4), ("large", 11), ("small", 4)):
        kept.get(key, lambda key=key, size=size: made.append(key) or "x" * size)
    assert made == ["small", "large"]
    assert kept.bytes == 4


def test_tables_of_many_sizes_do_not_add_up():
    """When the limit counted tables and not bytes, 32 sizes took 622 MiB."""
    with nm.use_backend("pure"):
        for side in range(60, 76):
            x = torch.zeros(1, side, side, 1, 1)
            nm.na2d(x, x, x, 13)
    tables = list(pure._tables._values.values())
    weight = sum(t.nbytes for table in tables for t in table if t is not None)
    assert 0 < weight == pure._tables.bytes <= pure._tables.capacity == 64 << 20


@pytest.mark.parametrize("causal", [False, True])
def test_a_table_is_that_of_its_window(causal):
    """The second call of each finds its own table, not that of another."""
    x = torch.randn(1, 12, 1, 4)
    with nm.use_backend("pure"):
        rules = [{"dilation": d, "window_stride": s} for d in (1, 2) for s in (1, 2)]
        first = [nm.na1d(x, x, x, 5, is_causal=causal, **r) for r in rules]
        again = [nm.na1d(x, x, x, 5, is_causal=causal, **r) for r in rules]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    assert not any(torch.equal(first[0], other) for other in first[1:])
