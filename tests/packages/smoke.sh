#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Wheels at work: smoke.sh FOLDER. The x86-64 wheel is installed into a clean
# environment and used with no compiler and no Go on PATH. The arm64 wheel's
# library serves the C example on an emulated processor.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
wheels=$(cd -- "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

echo "== x86-64 wheel in a clean environment"
"$root/.venv/bin/python" -m venv --without-pip "$scratch/venv"
"$root/.venv/bin/python" -m pip -q --python "$scratch/venv/bin/python" install --no-deps "$wheels"/*-manylinux2014_x86_64.whl
# PyTorch is 5 GB installed: it comes from the developer's environment, natten_mps does not.
"$root/.venv/bin/python" -c 'import torch, pathlib; print(pathlib.Path(torch.__file__).parents[1])' \
    >"$scratch/torch.pth"
cp -- "$scratch/torch.pth" "$("$scratch/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')"
cat >"$scratch/smoke.py" <<'PYTHON'
import pathlib, shutil, sys
import torch
import natten_mps

assert pathlib.Path(natten_mps.__file__).is_relative_to(sys.prefix), natten_mps.__file__
assert shutil.which("go") is None and shutil.which("cc") is None
natten_mps.set_backend("native")
q, k, v = (torch.randn(1, 12, 12, 2, 16, requires_grad=True) for _ in range(3))
native = torch.autograd.grad(natten_mps.na2d(q, k, v, 5).square().sum(), (q, k, v))
natten_mps.set_backend("pure")
pure = torch.autograd.grad(natten_mps.na2d(q, k, v, 5).square().sum(), (q, k, v))
for got, want in zip(native, pure):
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
print("natten_mps", natten_mps.__version__, "from", natten_mps.__file__)
PYTHON
env -i PATH="$scratch/venv/bin" HOME="$scratch" "$scratch/venv/bin/python" "$scratch/smoke.py"

echo "== arm64 wheel's library through the C example, emulated"
"$root/.venv/bin/python" -m zipfile -e "$wheels"/*-manylinux2014_aarch64.whl "$scratch/arm64"
aarch64-linux-gnu-gcc -std=c99 "-I$root/include" "$root/tests/examples/attention.c" -o "$scratch/attention" \
    "-L$scratch/arm64/natten_mps/lib" -lnatten_mps -lm
qemu-aarch64 -L /usr/aarch64-linux-gnu -E "LD_LIBRARY_PATH=$scratch/arm64/natten_mps/lib" "$scratch/attention"
