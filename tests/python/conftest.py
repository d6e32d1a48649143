# SPDX-License-Identifier: MIT
"""Fixtures of all Python tests."""

import pytest
import torch

from natten_mps import backend as choice


@pytest.fixture(autouse=True)
def _same_start():
    """Every test starts from the same random state, one thread and the default backend."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    before = choice.choice
    yield
    choice.choice = before


@pytest.fixture
def poison(monkeypatch):
    """Makes uninitialised tensors NaN, so that what is not written is seen."""

    def poisoned(make):
        def filled(*arguments, **options):
            tensor = make(*arguments, **options)
            return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

        return filled

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, poisoned(getattr(torch, name)))
