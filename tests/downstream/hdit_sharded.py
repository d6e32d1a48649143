# SPDX-License-Identifier: MIT
"""hdit's hourglass diffusion transformer, unmodified, on images whose rows are divided over
processes: `work` runs in each of them, and compares with the whole model. The package's samplers,
which want torchvision, are not imported."""

import importlib
import os
import sys
import types

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.experimental import implicit_replication

from natten_mps import compat, distributed

PACKAGES = ("", ".utils", ".modules", ".modules.attention", ".modules.models")
MODEL = ".modules.models.hourglass_diffusion_transformer"


def _package(name, folder):
    module = types.ModuleType(name)
    module.__path__ = [folder + name[4:].replace(".", "/")]
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)


def _model(client):
    os.environ["K_DIFFUSION_USE_COMPILE"] = "0"
    compat.activate("0.17.5")
    sys.path.insert(0, client)
    for name in (*PACKAGES, MODEL):
        _package("hdit" + name, client + "/hdit")
    things = types.ModuleType("hdit.modules.things")
    things.default_block_builders = {}
    sys.modules["hdit.modules.things"] = sys.modules["hdit.modules"].things = things
    core = importlib.import_module("hdit" + MODEL + ".core")
    block = importlib.import_module("hdit.modules.attention.neighborhood_attention")

    def layer(context):
        kernel = 3 if context.level_index == 2 else 5
        return block.NeighborhoodTransformerLayer(
            context.width, 64, 16, context.mapping_width, kernel
        )

    return core.HourglassDiffusionTransformer(
        3,
        3,
        patch_size=[2, 2],
        widths=[32, 32],
        middle_width=32,
        depths=[1, 1],
        middle_depth=1,
        block_builders=dict.fromkeys(range(5), layer),
        mapping_width=16,
        mapping_depth=1,
        mapping_dropout=0.0,
    )


def work(rank, client):
    """Outputs and gradients of parameters, divided against whole."""
    torch.manual_seed(0)
    model = _model(client).double()
    for parameter in model.parameters():
        if not parameter.any():  # projections that start at zero would hide the attention
            torch.nn.init.normal_(parameter, std=0.1)
    pixels, times = torch.randn(2, 3, 32, 32).double(), torch.tensor([0.3, 0.7]).double()
    want = model(pixels, times)
    want.square().sum().backward()
    wanted = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    distributed.distribute_module(model, mesh)
    with implicit_replication():  # of the positions that the model makes
        found = model(distribute_tensor(pixels, mesh, [Shard(2)]), times)
        found.square().sum().backward()
    assert found.placements == (Shard(2),), f"process {rank}: {found.placements}"
    torch.testing.assert_close(found.full_tensor(), want)
    compared = 0
    for name, parameter in model.named_parameters():
        if wanted[name] is not None:
            torch.testing.assert_close(parameter.grad.full_tensor(), wanted[name])
            compared += 1
    return compared
