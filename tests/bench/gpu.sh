#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# ./build.sh bench gpu (Linux only): writes kernels as PTX, their launches and their instruction
# counts, and times them if there is a driver. The folder can be copied to a machine that has
# one.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

[[ $(uname -s) == Linux ]] || {
    echo "build.sh: bench gpu compiles shaders for NVIDIA GPUs, which needs Linux" >&2
    exit 2
}
folder=$PWD/build/gpubench
rm -rf -- "$folder"
mkdir -p -- "$folder"
NATTEN_GPU_BENCH=$folder go test -count=1 -timeout 60m -run TestExportBenchmarks ./core/metal
.venv/bin/python tests/metalsim/gpu/census.py "$folder"
.venv/bin/python tests/metalsim/gpu/roofline.py "$folder" --plot "$folder/roofline.png"
if ldconfig -p | grep -q libcuda.so.1; then
    .venv/bin/python tests/metalsim/gpu/bench.py "$folder" --json "$folder/figures.json"
else
    echo "no NVIDIA driver here; there: python3 tests/metalsim/gpu/bench.py $folder"
fi
