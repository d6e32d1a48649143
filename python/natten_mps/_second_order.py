# SPDX-License-Identifier: MIT
"""Second-order gradients, through the operations of `pure`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Tensors = Sequence[Tensor | None]


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
