# SPDX-License-Identifier: MIT
"""merge_attentions."""

import pytest
import torch

from natten_mps import merge_attentions


def parts(number, dtype=torch.float64):
    """Attention over parts of the keys, and over all of them."""
    q = torch.randn(2, 3, 4, dtype=dtype, requires_grad=True)
    k = torch.randn(2, 12, 4, dtype=dtype, requires_grad=True)
    logits = q @ k.transpose(1, 2)
    pieces = list(zip(logits.chunk(number, -1), k.chunk(number, 1), strict=True))
    outputs = [a.softmax(-1) @ v for a, v in pieces]
    lses = [a.logsumexp(-1) for a, _ in pieces]
    return q, k, outputs, lses, logits.softmax(-1) @ k, logits.logsumexp(-1)


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("fix", [True, False])
def test_any_number_with_gradients(number, fix):
    q, k, outputs, lses, want, want_lse = parts(number)
    out, lse = merge_attentions(outputs, lses, use_autograd_fix=fix)
    torch.testing.assert_close(out, want)
    torch.testing.assert_close(lse, want_lse)
    loss, want_loss = (o.square().sum() + s.sin().sum() for o, s in ((out, lse), (want, want_lse)))
    wanted = torch.autograd.grad(want_loss, (q, k), retain_graph=True)
    for got, gradient in zip(torch.autograd.grad(loss, (q, k)), wanted, strict=True):
        torch.testing.assert_close(got, gradient)


def test_gradcheck():
    shape = (2, 3)
    outputs = [torch.randn(*shape, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    lses = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(
        lambda *x: merge_attentions(x[:3], x[3:]), (*outputs, *lses), check_forward_ad=True
    )


def test_no_keys_at_all():
    empty = torch.full((2, 3), -torch.inf, requires_grad=True)
    some = torch.randn(2, 3, 4, requires_grad=True)
    out, lse = merge_attentions([some, some], [empty, empty])
    assert (out == 0).all()
    assert (lse == -torch.inf).all()
    out.sum().backward()
    assert (some.grad == 0).all()
    assert (empty.grad == 0).all()
    out, lse = merge_attentions([some, some * 2], [empty, torch.zeros(2, 3)])
    torch.testing.assert_close(out, some * 2)
    torch.testing.assert_close(lse, torch.zeros(2, 3))


def test_large_sums_do_not_overflow_and_half_stays_half():
    *_, outputs, lses, want, want_lse = parts(2, torch.float32)
    out, lse = merge_attentions([o.half() for o in outputs], [s + 1e4 for s in lses])
    assert out.dtype == torch.float16
    assert lse.dtype == torch.float32
    torch.testing.assert_close(out.float(), want, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(lse - 1e4, want_lse, rtol=0, atol=2e-3)
