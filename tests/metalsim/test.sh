#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Kernels and their host side: test.sh quick|slow|shadercov, with the library built and
# .venv made. On macOS the Metal of the machine, elsewhere a simulated one.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
cd -- "$root"

tiers=(1-block 1-queue 2 3)

# on_simulator SIMULATOR TIER MODE ARGUMENTS... runs pytest with CPU tensors as MPS
# tensors, whose kernels the tests compare themselves, and with $library (Linux only).
on_simulator() {
    NATTEN_MPS_LIBRARY=$library NATTEN_MPS_SIMULATOR=$1 NATTEN_MPS_TIER=$2 NATTEN_MPS_VERIFY=off METALSIM_MODE=$3 NATTEN_BACKEND=metal NATTEN_TEST_REQUIRE=metal \
        PYTHONPATH=$root/tests/metalsim/python .venv/bin/python -m pytest -q "${@:4}"
}

# python_suite SIMULATOR TIER runs all of it in a tier (Linux only).
python_suite() {
    echo "== test the Python suite in tier $2"
    on_simulator "$1" "$2" fast -n auto --maxprocesses 4 --dist worksteal -m "not slow" tests/python
}

# on_gpu TIER ARGUMENTS... runs pytest with MPS tensors.
on_gpu() {
    NATTEN_MPS_TIER=$1 NATTEN_BACKEND=metal NATTEN_TEST_REQUIRE=metal .venv/bin/python -m pytest -q "${@:2}"
}

# The host side, every kernel and the table of problems on the GPU that there is.
quick_on_gpu() {
    local tier
    NATTEN_TEST_REQUIRE=metal go test -shuffle=on -timeout 60m ./tests/metal ./metalrt ./core/metal
    for tier in "${tiers[@]}"; do
        echo "== test metal, tier $tier"
        on_gpu "$tier" tests/python/test_metal.py
    done
}

# Every kernel under the checker, the host side and the table of problems in each tier,
# and the Python suite in the first (Linux only).
quick_on_simulator() {
    local tier simulator library
    simulator=$(go run ./tests/metalsim/cmd/simbuild)
    library=$(tests/metalsim/library.sh)
    go test -shuffle=on -timeout 60m ./tests/metalsim/... ./tests/metal ./metalrt ./core/metal
    for tier in "${tiers[@]}"; do
        echo "== test metal, tier $tier"
        on_simulator "$simulator" "$tier" checked tests/metalsim/python
        on_simulator "$simulator" "$tier" fast tests/python/test_metal.py
    done
    python_suite "$simulator" "${tiers[0]}"
    tests/metalsim/arm64/run.sh quick
}

# The Python suite in the other tiers (Linux only).
slow_on_simulator() {
    local tier simulator library
    simulator=$(go run ./tests/metalsim/cmd/simbuild)
    library=$(tests/metalsim/library.sh)
    for tier in "${tiers[@]:1}"; do
        python_suite "$simulator" "$tier"
    done
    tests/metalsim/arm64/run.sh full
}

## shadercov             measure line coverage of the shaders by the tests of core/metal; each file needs 95 %
#                       (Linux only)
shader_coverage() {
    local folder=$root/build/shadercov
    rm -rf -- "$folder"
    mkdir -p -- "$folder"
    METALSIM_MODE=coverage METALSIM_CACHE=$folder \
        go test -count=1 -timeout 60m -run 'Conformance|EveryVariant' ./core/metal
    go run ./tests/metalsim/cmd/shadercov "$folder"
}

# The simulator needs ELF and GNU ld, and macOS would not load it: it has a Metal.
case $1-$(uname -s) in
    quick-Darwin) quick_on_gpu ;;
    quick-*) quick_on_simulator ;;
    slow-Darwin) echo "== test the Python suite in the other tiers: skipped, the simulated Metal needs Linux" ;;
    slow-*) slow_on_simulator ;;
    shadercov-Darwin)
        echo "build.sh: shadercov counts lines on the simulated Metal, which needs Linux" >&2
        exit 2
        ;;
    shadercov-*) shader_coverage ;;
esac
