# SPDX-License-Identifier: MIT
"""transformers' DiNAT, unmodified: backbone or classification, `dinat.py backbone|classification`.
Run under `python -m natten_mps.compat VERSION`."""

import sys

import definition
import torch
from transformers import DinatBackbone, DinatConfig, DinatForImageClassification
from transformers.models.dinat import modeling_dinat

# 64 x 64 pixels are 16 x 16 patches, then 8 x 8 and 4 x 4, which are padded to the window. The
# second stage has 8 heads, which is also its number of columns.
CONFIG = {
    "embed_dim": 32,
    "depths": [2, 2, 1],
    "num_heads": [4, 8, 8],
    "kernel_size": 3,
    "dilations": [[1, 4], [1, 2], [1]],
    "layer_scale_init_value": 0.5,
    "num_labels": 5,
}


def heads_first(tensor, heads):
    """From heads-first or, since transformers 5, [B, Y, X, H, D]; distinguished by what the model
    does and not by the tensor."""
    return tensor.permute(0, 3, 2, 1, 4) if TRANSPOSES else tensor


def qk(query, key, rpb, kernel, dilation):
    heads = rpb.shape[0]
    return definition.qk(heads_first(query, heads), heads_first(key, heads), rpb, kernel, dilation)


def av(attn, value, kernel, dilation):
    return definition.av(attn, heads_first(value, attn.shape[1]), kernel, dilation)


def patch():
    modeling_dinat.natten2dqkrpb = qk
    modeling_dinat.natten2dav = av


def backbone(model, pixels):
    maps = model(pixels).feature_maps
    return torch.cat([m.flatten() for m in maps])


def classification(model, pixels):
    return model(pixels, labels=torch.tensor([1, 3])).loss[None]


TRANSPOSES = not hasattr(modeling_dinat.NeighborhoodAttention, "transpose_for_scores")

if __name__ == "__main__":
    what = sys.argv[1]
    config = DinatConfig(**CONFIG, out_features=["stage1", "stage2", "stage3"])
    model = DinatBackbone if what == "backbone" else DinatForImageClassification

    def make():
        made = model(config)
        for name, parameter in made.named_parameters():
            if name.endswith("rpb"):
                torch.nn.init.normal_(parameter)
        return made

    steps = {"backbone": backbone, "classification": classification}[what]
    definition.compare(make, patch, torch.randn(2, 3, 64, 64), steps)
