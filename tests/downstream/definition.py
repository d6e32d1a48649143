# SPDX-License-Identifier: MIT
"""Neighborhood attention from its definition, independent of natten_mps: the keys of each query
are listed, gathered and used. For the clients' models, heads first."""

from functools import cache
from itertools import product

import torch


@cache
def axis_windows(length, kernel, dilation):
    """For every query the keys it sees and, for each, the place in the bias."""
    keys, places = [], []
    for i in range(length):
        residue, g = i % dilation, i // dilation
        members = (length - residue + dilation - 1) // dilation
        start = min(max(g - kernel // 2, 0), members - kernel)
        keys.append([residue + (start + t) * dilation for t in range(kernel)])
        places.append([start + t - g + kernel - 1 for t in range(kernel)])
    return keys, places


@cache
def windows(lengths, kernel, dilation):
    """Flat key indices [queries, slots] and bias indices, one tensor an axis."""
    axes = [axis_windows(n, kernel, dilation) for n in lengths]
    flat, places = [], [[] for _ in lengths]
    for query in product(*(range(n) for n in lengths)):
        slots = list(product(range(kernel), repeat=len(lengths)))
        row = []
        for slot in slots:
            index = 0
            for (keys, _), n, q, t in zip(axes, lengths, query, slot, strict=True):
                index = index * n + keys[q][t]
            row.append(index)
        flat.append(row)
        for axis, ((_, bias), q) in enumerate(zip(axes, query, strict=True)):
            places[axis].append([bias[q][slot[axis]] for slot in slots])
    return torch.tensor(flat), tuple(torch.tensor(p) for p in places)


def qk(query, key, rpb, kernel, dilation):
    """Logits [B, H, axes..., slots] of [B, H, axes..., D]."""
    lengths = tuple(query.shape[2:-1])
    keys, places = windows(lengths, kernel, dilation)
    gathered = key.flatten(2, -2)[:, :, keys]
    logits = torch.einsum("bhnd,bhnsd->bhns", query.flatten(2, -2), gathered)
    if rpb is not None:
        logits = logits + rpb[(slice(None), *places)]
    return logits.unflatten(2, lengths)


def av(attn, value, kernel, dilation):
    """Weights [B, H, axes..., slots] applied to [B, H, axes..., D]."""
    lengths = tuple(value.shape[2:-1])
    keys, _ = windows(lengths, kernel, dilation)
    gathered = value.flatten(2, -2)[:, :, keys]
    out = torch.einsum("bhns,bhnsd->bhnd", attn.flatten(2, -2), gathered)
    return out.unflatten(2, lengths)


def compare(make, patch, inputs, steps):
    """Asserts that a model gives the same outputs and gradients on natten and, after `patch` of
    its module, on the definition. `make` builds the model, `steps` runs it to a tensor."""
    results = []
    for use_definition in (False, True):
        torch.manual_seed(7)
        model = make().double().eval()
        if use_definition:
            patch()
        leaf = inputs.clone().double().requires_grad_()
        out = steps(model, leaf)
        out.backward(torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out))
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        results.append({"out": out.detach(), "input": leaf.grad, **gradients})
    mine, wanted = results
    assert mine.keys() == wanted.keys()
    worst = 0.0
    # Some gradients are 0 in exact arithmetic (a key's bias shifts all logits alike).
    least = 1e-6 * max(want.abs().max().item() for want in wanted.values())
    for name, want in wanted.items():
        scale = max(want.abs().max().item(), least)
        worst = max(worst, (mine[name] - want).abs().max().item() / scale)
    assert len(wanted) > 5
    assert worst < 1e-9, worst
    print(f"{len(wanted)} tensors agree to {worst:.1e}")
