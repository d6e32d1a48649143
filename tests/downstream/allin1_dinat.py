# SPDX-License-Identifier: MIT
"""allin1's models/dinat.py, unmodified: one- and two-dimensional layers with head dim 12 and
double attention. Its package's __init__ needs audio libraries and is not run."""

import importlib.util
import sys
import types

import definition
import torch


def package(name, path):
    module = types.ModuleType(name)
    module.__path__ = [path]
    sys.modules[name] = module


folder = importlib.util.find_spec("allin1").submodule_search_locations[0]
package("allin1", folder)
package("allin1.models", folder + "/models")
dinat = importlib.import_module("allin1.models.dinat")
Config = importlib.import_module("allin1.config").Config


def layer(rank, dilation):
    torch.manual_seed(rank)
    config = Config(drop_attention=0.0, drop_hidden=0.0)
    kind = {1: dinat.DinatLayer1d, 2: dinat.DinatLayer2d}[rank]
    made = kind(
        config,
        dim=config.dim_embed,
        num_heads=config.num_heads,
        kernel_size=config.kernel_size,
        dilation=dilation,
        drop_path_rate=0.0,
        **({"double_attention": True} if rank == 1 else {}),
    )
    for name, parameter in made.named_parameters():
        if name.endswith("rpb"):
            torch.nn.init.normal_(parameter)
    return made


def patch():
    for rank in (1, 2):
        setattr(dinat, f"natten{rank}dqkrpb", definition.qk)
        setattr(dinat, f"natten{rank}dav", definition.av)


originals = {name: getattr(dinat, name) for name in vars(dinat) if name.startswith("natten")}


def compare(rank, dilation, inputs):
    vars(dinat).update(originals)

    def rebind(model):
        for module in model.modules():
            if hasattr(module, "nattendqkrpb"):
                module.nattendqkrpb = getattr(dinat, f"natten{rank}dqkrpb")
                module.nattendav = getattr(dinat, f"natten{rank}dav")

    def steps(model, x):
        rebind(model)
        return model(x)[0]

    definition.compare(lambda: layer(rank, dilation), patch, inputs, steps)


if __name__ == "__main__":
    compare(1, 1, torch.randn(2, 40, 24))
    compare(1, 8, torch.randn(2, 60, 24))
    compare(1, 64, torch.randn(1, 700, 24))
    compare(2, 1, torch.randn(2, 4, 20, 24))
