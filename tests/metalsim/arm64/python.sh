#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The Python package on arm64 under qemu-user (Linux only): python.sh [ARGUMENTS OF PYTHON].
# Without arguments: first_results.py, then the tests of tests.txt (functions, gradients,
# compat and modules of every rank on the CPU, and the table of problems on the simulated GPU).
# Debian's arm64 Python and PyTorch's aarch64 wheel (2.8, the last one on PyPI without CUDA) are
# unpacked below build/arm64/python; nothing is installed. Importing PyTorch takes half a minute
# of processor time.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../../.." && pwd)
cd -- "$root"
folder=$root/build/arm64/python
here=tests/metalsim/arm64

# Debian's packages for arm64, by an apt with its own state.
fetch_python() {
    [[ ! -x $folder/root/usr/bin/python3 ]] || return 0
    echo "== unpacking Debian's arm64 Python"
    mkdir -p -- "$folder"/state/lists/partial "$folder"/cache/archives/partial "$folder/root"
    : >"$folder/status"
    printf '%s\n' 'APT::Architecture "arm64"; APT::Architectures { "arm64"; };' \
        "Dir::State \"$folder/state\"; Dir::Cache \"$folder/cache\"; Dir::State::status \"$folder/status\";" >"$folder/apt.conf"
    local package
    APT_CONFIG=$folder/apt.conf apt-get update -qq
    APT_CONFIG=$folder/apt.conf apt-get install -y -qq -d --no-install-recommends python3 libstdc++6 libgomp1 >/dev/null
    for package in "$folder"/cache/archives/*.deb; do
        dpkg -x "$package" "$folder/root"
    done
}

# PyTorch and its dependencies, as wheels that are only unpacked.
fetch_torch() {
    [[ ! -d $folder/site/torch ]] || return 0
    echo "== unpacking PyTorch for aarch64"
    local version wheel
    local pip=(.venv/bin/python -m pip download -q --disable-pip-version-check --no-deps
        --only-binary=:all: -d "$folder/wheels")
    version=$("${emulated[@]}" "$folder/root/usr/bin/python3" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "${pip[@]}" --python-version "$version" --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 \
        torch==2.8.0 numpy==2.3.4 markupsafe hypothesis
    "${pip[@]}" --python-version "$version" sympy==1.14.0 mpmath networkx jinja2 filelock fsspec typing_extensions packaging \
        pytest==9.2.0 pytest-timeout pluggy iniconfig pygments sortedcontainers
    for wheel in "$folder"/wheels/*.whl; do
        .venv/bin/python -m zipfile -e "$wheel" "$folder/site"
    done
}

emulated=(qemu-aarch64 -L "$folder/root")
fetch_python
fetch_torch
rm -rf -- "$folder/package"
mkdir -p -- "$folder/package"
cp -r python/natten_mps "$folder/package"
rm -rf -- "$folder/package/natten_mps/lib"
CC=aarch64-linux-gnu-gcc GOARCH=arm64 GOOS=linux tests/metalsim/library.sh "$folder/package/natten_mps/lib/libnatten_mps.so"
simulator=$(NATTEN_METALSIM_ARCH=arm64 go run ./tests/metalsim/cmd/simbuild)
export METALSIM_MODE=fast METALSIM_TORCH=2.15 NATTEN_MPS_VERIFY=off NATTEN_MPS_SIMULATOR=$simulator OMP_NUM_THREADS=1
export PYTHONPATH=$folder/package:$folder/site:tests/metalsim/python
python=("${emulated[@]}" "$folder/root/usr/bin/python3")
if [[ $# -gt 0 ]]; then
    exec "${python[@]}" "$@"
fi
"${python[@]}" "$here/first_results.py"
"${python[@]}" -m pytest -q -p no:cacheprovider -o addopts=-ra --timeout 3600 @"$here/tests.txt"
