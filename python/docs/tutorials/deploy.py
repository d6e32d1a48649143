# %% [markdown]
# # Deploy a model
#
# This tutorial exports a model of two layers in four ways. If natten_mps is installed where the
# exported program runs, the program can call its operations; otherwise they are decomposed into
# PyTorch operations.

# %%
import logging
import tempfile
from pathlib import Path

import torch
from torch import nn

from natten_mps import NeighborhoodAttention2D
from natten_mps.export import decompositions

torch.manual_seed(0)
model = nn.Sequential(
    NeighborhoodAttention2D(32, 4, kernel_size=5),
    NeighborhoodAttention2D(32, 4, kernel_size=5, dilation=2),
).eval()
x = torch.randn(2, 16, 16, 32)
want = model(x).detach()
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## torch.export
#
# The program contains `natten_mps::attn`. It runs at full speed wherever `import natten_mps`
# works, and for other sizes if they are marked as dynamic.

# %%
sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("height", min=10)}
program = torch.export.export(model, (x,), dynamic_shapes=(sizes,))
torch.export.save(program, folder / "model.pt2")
loaded = torch.export.load(folder / "model.pt2")
torch.testing.assert_close(loaded.module()(x), want)
targets = [str(node.target) for node in program.graph.nodes]
print([target for target in targets if "natten_mps" in target])

# %% [markdown]
# ## AOTInductor
#
# AOTInductor makes a shared library for C++ programs. The operations of natten_mps are registered
# from Python, which such a program does not have, so decompose them first. The result needs only
# PyTorch's C++ library.

# %%
table = {**torch.export.default_decompositions(), **decompositions()}
plain = torch.export.export(model, (x,)).run_decompositions(table)
package = torch._inductor.aoti_compile_and_package(
    plain, package_path=str(folder / "model_aoti.pt2")
)
compiled = torch._inductor.aoti_load_package(package)
torch.testing.assert_close(compiled(x), want, rtol=1e-4, atol=1e-5)
print(f"{Path(package).stat().st_size / 1024:.0f} KiB")

# %% [markdown]
# ## ONNX
#
# `torch.onnx.export` finds the decompositions without help. Any runtime with the standard
# operators can run the file; here it is onnxruntime.

# %%
import onnxruntime

logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # do not warn of missing torchvision
exported = torch.onnx.export(model, (x,), dynamo=True, verbose=False)
exported.save(folder / "model.onnx")
session = onnxruntime.InferenceSession(folder / "model.onnx")
(got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
got = torch.from_numpy(got)
torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
print(f"largest difference {float((got - want).abs().max()):.1e}")

# %% [markdown]
# ## Core ML
#
# `coremltools` converts the decomposed program on macOS or Linux; the result runs on macOS and
# iOS. If coremltools is not installed, this step is skipped.

# %%
try:
    import coremltools
except ImportError:
    print("coremltools is not installed")
else:
    converted = coremltools.convert(plain)
    converted.save(str(folder / "model.mlpackage"))

# %% [markdown]
# ## Which one
#
# | way | computed by | needs at run time |
# | --- | --- | --- |
# | torch.export | natten_mps | Python, PyTorch, natten_mps |
# | AOTInductor | compiled PyTorch operations | PyTorch's C++ library |
# | ONNX | the runtime | an ONNX runtime |
# | Core ML | Core ML | macOS or iOS |
# | [C](../c.html), [C++](../cpp.html), [Swift](../swift.html) | natten_mps | `libnatten_mps` |
