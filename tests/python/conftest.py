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


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call():
    """Skips float64 tests if NATTEN_BACKEND makes Metal the default, which lacks this type."""
    default = choice.choice
    try:
        return (yield)
    except NotImplementedError as error:
        if default == "metal" and "dtype is float64 (Metal has" in str(error):
            pytest.skip("Metal has no float64")
        raise


@pytest.fixture
def poison(monkeypatch):
    """Fills uninitialized tensors with NaN, so that elements that are not written are noticed."""

    def poisoned(make):
        def filled(*arguments, **options):
            tensor = make(*arguments, **options)
            return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

        return filled

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, poisoned(getattr(torch, name)))
