# SPDX-License-Identifier: MIT
"""Every public function with every unusual carrier: the result of `pure` on the plain tensor, or
an error that names the carrier and the way out."""

import re

import pytest
import torch
from carriers import COMPUTED, FUNCTIONS, REFUSED, SHAPES

from natten_mps import backend


def drawn(shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def expected(call, carrier, x):
    """What `pure` gives for the plain tensor."""
    backend.set_backend("pure")
    try:
        if carrier == "expanded":
            x = x[:1].expand(x.shape).clone()
        return call(torch.zeros_like(x) if carrier == "zero" else x)
    finally:
        backend.set_backend("auto")


def check_computed(carrier, name):
    call, shape = FUNCTIONS[name]
    want = expected(call, carrier, drawn(shape)).detach()
    got = COMPUTED[carrier](call, drawn(shape)).detach()
    torch.testing.assert_close(got, want, rtol=2e-5, atol=2e-5)


#: Carriers under which nobody may read lengths.
UNREADABLE = ("recorded", "recorded with gradients", "symbolically traced", "make_fx")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("carrier", COMPUTED)
def test_computed(carrier, name):
    if name == "na1d_packed" and carrier.startswith(UNREADABLE):
        with pytest.raises(NotImplementedError, match=r"\(want a plain tensor.* na1d_varlen"):
            check_computed(carrier, name)
    else:
        check_computed(carrier, name)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("carrier", SHAPES)
def test_shapes(carrier, name):
    call, shape = FUNCTIONS[name]
    want = expected(call, carrier, drawn(shape))
    try:
        got = SHAPES[carrier](call, drawn(shape))
    except (NotImplementedError, RuntimeError, ValueError) as error:
        refusal = str(error)
    else:
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        return
    # Weights, biases and modules are on the CPU, and lengths must not be read.
    assert re.search(f"{carrier}|device|na1d_varlen", refusal)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("carrier", REFUSED)
def test_refused(carrier, name):
    call, shape = FUNCTIONS[name]
    carry, called, way_out = REFUSED[carrier]
    if carrier == "mkldnn" and len(shape) > 5:
        pytest.skip("mkldnn has no more than 5 dimensions")
    try:
        got = call(carry(drawn(shape)))
    except (TypeError, ValueError, RuntimeError) as error:
        refusal = str(error)
    else:  # 0.15 and 0.17 compute nested tensors sample by sample
        assert "nested" in called
        want = expected(call, carrier, drawn(shape))
        torch.testing.assert_close(torch.stack(list(got.unbind())), want, rtol=2e-5, atol=2e-5)
        return
    assert re.search(called, refusal)
    assert re.search(way_out, refusal)


def test_there_are_enough_carriers():
    assert len(COMPUTED) + len(SHAPES) + len(REFUSED) >= 25
