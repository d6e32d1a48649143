# %% [markdown]
# # Deploy a model
#
# Four ways out of Python, for one model of two layers. Where natten_mps is installed the exported
# program calls its operations; for everywhere else they are decomposed into PyTorch's own.

# %%
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
# The program contains `natten_mps::attn`. It runs wherever `import natten_mps` works, at full
# speed, also for other sizes if they are marked as dynamic.

# %%
batch, height = torch.export.Dim("batch"), torch.export.Dim("height", min=10)
program = torch.export.export(model, (x,), dynamic_shapes=({0: batch, 1: height},))
torch.export.save(program, folder / "model.pt2")
loaded = torch.export.load(folder / "model.pt2")
torch.testing.assert_close(loaded.module()(x), want)
print([str(n.target) for n in program.graph.nodes if "natten_mps" in str(n.target)])

# %% [markdown]
# ## AOTInductor
#
# A shared library for C++ programs. The operations of natten_mps are registered from Python, which
# such a program has not, so decompose them first. The result needs PyTorch's C++ library only.

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
# `torch.onnx.export` finds the decompositions by itself. Any runtime that knows the standard
# operators runs the file; here onnxruntime.

# %%
import onnxruntime

torch.onnx.export(model, (x,), dynamo=True, verbose=False).save(folder / "model.onnx")
session = onnxruntime.InferenceSession(folder / "model.onnx")
(got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
torch.testing.assert_close(torch.from_numpy(got), want, rtol=1e-4, atol=1e-5)
print(f"largest difference {float((torch.from_numpy(got) - want).abs().max()):.1e}")

# %% [markdown]
# ## Core ML
#
# `coremltools` converts the decomposed program, on macOS and on Linux; running the result takes a
# Mac. If coremltools is not installed, this step is skipped.

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
