# SPDX-License-Identifier: MIT
"""ONNX: our operations as standard ones, run by onnxruntime; and clients, compiled and exported."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import numpy
import pytest
import torch

import natten_mps as nm

onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnxscript", reason="needs onnxscript")


def check(module, path, *inputs, **options):
    """Export, then compare onnxruntime with the module on each of `inputs`."""
    program = torch.onnx.export(module, (inputs[0],), dynamo=True, verbose=False, **options)
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    for x in inputs:
        (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        numpy.testing.assert_allclose(got, module(x).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [pytest.param(1, marks=pytest.mark.slow), 2, 3])
def test_modules(rank, tmp_path):
    kind = getattr(nm, f"NeighborhoodAttention{rank}D")
    module = torch.nn.Sequential(
        kind(16, 2, 3, is_causal=True, rel_pos_bias=True),
        kind(16, 4, 2, stride=2, dilation=2, num_kv_heads=2),
    )
    spatial = (8, 6, 5)[:rank]
    more = (10, *spatial[1:])
    sizes = ({0: "batch", 1: "length"},)
    check(
        module.eval(),
        tmp_path / "module.onnx",
        torch.randn(2, *spatial, 16),
        torch.randn(3, *more, 16),
        dynamic_shapes=sizes,
    )


CLIENT = """
    import sys
    import torch
    from natten_mps import compat

    compat.activate("0.14.6")
    from transformers import DinatConfig, DinatForImageClassification

    config = DinatConfig(
        drop_path_rate=0.0, embed_dim=16, depths=[1, 2], num_heads=[2, 4],
        kernel_size=3, dilations=[[2], [1, 1]],
        num_labels=10, patch_size=4, out_features=None,
    )
    torch.manual_seed(0)
    model = DinatForImageClassification(config).eval()
    x = torch.randn(2, 3, 32, 40)
    want = model(x).logits
"""
EXPORT = """
    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x).logits

    import onnxruntime
    program = torch.onnx.export(Logits(), (x,), dynamo=True, verbose=False)
    program.save(sys.argv[1])
    session = onnxruntime.InferenceSession(sys.argv[1])
    (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), want, rtol=1e-3, atol=1e-4)
    print("equal")
"""
COMPILE = """
    compiled = torch.compile(model, fullgraph=True)
    torch.testing.assert_close(compiled(x).logits, want, rtol=1e-4, atol=1e-4)
    model.train()
    torch.manual_seed(0)
    model(x).logits.square().sum().backward()
    wanted = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    compiled(x).logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-3, atol=1e-3)
    print("equal")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs transformers (pip: demo)"
)
@pytest.mark.parametrize("what", ["export", pytest.param("compile", marks=pytest.mark.slow)])
def test_dinat_of_transformers(what, tmp_path):
    """In a process of its own, since it changes what `import natten` means."""
    body = {"export": EXPORT, "compile": COMPILE}[what]
    script = tmp_path / "client.py"
    script.write_text(textwrap.dedent(CLIENT) + textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, script, tmp_path / "dinat.onnx"],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "equal"
