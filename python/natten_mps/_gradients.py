# SPDX-License-Identifier: MIT
"""Gradients of a function that consists of PyTorch's operations, as those of `pure` do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Tensors = Sequence[Tensor | None]

_AUTOGRAD_KEYS = (
    torch._C.DispatchKey.AutogradFunctionality,
    torch._C.DispatchKey.AutogradOther,
    torch._C.DispatchKey.ADInplaceOrView,
)


@contextmanager
def _recording() -> Iterator[None]:
    """Enable autograd, also inside an operation's implementation, below the autograd key."""
    include = torch._C._dispatch_tls_local_include_set()
    exclude = torch._C._dispatch_tls_local_exclude_set()
    for key in _AUTOGRAD_KEYS:
        exclude = exclude.remove(key)
    with torch._C._ForceDispatchKeyGuard(include, exclude), torch.enable_grad():
        yield


def first_order(
    function: Any, inputs: Tensors, d_outputs: Tensors, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """Gradients of the wanted inputs: the vector-Jacobian product of `function` at `inputs` with
    `d_outputs`. No graph is kept."""
    with _recording():
        x = [
            None if t is None else t.detach().requires_grad_(want)
            for t, want in zip(inputs, wanted, strict=True)
        ]
        result = function(*x)
        outputs = result if isinstance(result, tuple) else (result,)
        used = [
            (o, d)
            for o, d in zip(outputs, d_outputs, strict=True)
            if d is not None and o.requires_grad  # lse does not depend on the values
        ]
        targets = [t for t in x if t is not None and t.requires_grad]
        found = iter(
            torch.autograd.grad(
                [o for o, _ in used], targets, [d for _, d in used], materialize_grads=True
            )
        )
    return [next(found) if t is not None and t.requires_grad else None for t in x]


def second_order(
    function: Any, inputs: Tensors, d_outputs: Tensors, wanted: Sequence[bool], dd: Tensors
) -> list[Tensor | None]:
    """Gradients with respect to all inputs and d_outputs of the vector-Jacobian product of
    `function` at `inputs` with `d_outputs`, given the gradients `dd` of its wanted results."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases cut the graph between inputs: one may have been computed from another.
        x = [None if t is None else t.view_as(t) for t in inputs]
        d = [None if t is None else t.view_as(t) for t in d_outputs]
        result = function(*x)
        outputs = result if isinstance(result, tuple) else (result,)
        used = [
            (o, g) for o, g in zip(outputs, d, strict=True) if g is not None and o.requires_grad
        ]
        targets = [t for t, want in zip(x, wanted, strict=True) if want and t is not None]
        grads = torch.autograd.grad(
            [o for o, _ in used],
            targets,
            [g for _, g in used],
            create_graph=True,
            allow_unused=True,
        )
        wanted_dd = [g for g, want in zip(dd, wanted, strict=True) if want]
        both = [
            (g, h)
            for g, h in zip(grads, wanted_dd, strict=True)
            if g is not None and h is not None and g.requires_grad
        ]
        sources = [t for t in (*x, *d) if t is not None and t.requires_grad]
        if not both or not sources:
            return [None] * (len(x) + len(d))
        found = iter(
            torch.autograd.grad(
                [g for g, _ in both],
                sources,
                [h for _, h in both],
                create_graph=create_graph,
                allow_unused=True,
            )
        )
        return [next(found) if t is not None and t.requires_grad else None for t in (*x, *d)]
