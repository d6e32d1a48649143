# SPDX-License-Identifier: MIT
"""The neighborhood block of the hourglass diffusion transformer (k-diffusion's
image_transformer_v2.py, as in the package hdit), unmodified, with both of its branches: fused,
heads-last, and split, heads-first. The packages' __init__ need samplers and are not run."""

import importlib.util
import sys
import types

import definition
import natten
import torch


def package(name, path):
    module = types.ModuleType(name)
    module.__path__ = [path]
    sys.modules[name] = module


folder = importlib.util.find_spec("hdit").submodule_search_locations[0]
for name in ("hdit", "hdit.modules", "hdit.modules.attention"):
    package(name, folder + name[4:].replace(".", "/"))
block = importlib.import_module("hdit.modules.attention.neighborhood_attention")
axial_rope = importlib.import_module("hdit.modules.attention.axial_rope")

KERNEL = 5


def layer():
    made = block.NeighborhoodTransformerLayer(32, 64, 16, cond_features=8, kernel_size=KERNEL)
    for parameter in made.parameters():
        if not parameter.any():  # projections that start at zero would hide the attention
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def fused(query, key, value, kernel_size, scale):
    assert scale == 1.0
    query, key, value = (t.movedim(-2, 1) for t in (query, key, value))
    attn = definition.qk(query, key, None, kernel_size, 1).softmax(-1)
    return definition.av(attn, value, kernel_size, 1).movedim(1, -2)


def patch():
    natten.functional.na2d = fused
    natten.functional.na2d_qk = lambda q, k, kernel_size: definition.qk(q, k, None, kernel_size, 1)
    natten.functional.na2d_av = lambda a, v, kernel_size: definition.av(a, v, kernel_size, 1)


def steps(model, x):
    positions = axial_rope.make_axial_pos(8, 9, dtype=x.dtype).view(8, 9, 2)
    condition = torch.linspace(-1, 1, 16, dtype=x.dtype).view(2, 8)
    return model(x, positions, condition)


if __name__ == "__main__":
    own = {name: getattr(natten.functional, name) for name in ("na2d", "na2d_qk", "na2d_av")}
    has_fused_na = natten.has_fused_na
    for answer in (has_fused_na, lambda: False):
        natten.has_fused_na = answer
        vars(natten.functional).update(own)
        definition.compare(layer, patch, torch.randn(2, 8, 9, 32), steps)
