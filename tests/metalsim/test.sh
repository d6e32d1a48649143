#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Kernels and their host side: test.sh quick|slow|shadercov, with the library built and
# .venv made. On macOS the Metal of the machine, elsewhere a simulated one.
# shellcheck disable=SC2317  # parts are called by name
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
cd -- "$root"

tiers=(1-block 1-queue 2 3)

# on_simulator LIBRARY TIER MODE ARGUMENTS... runs pytest with CPU tensors as MPS tensors.
on_simulator() {
    NATTEN_MPS_SIMULATOR=$1 NATTEN_MPS_TIER=$2 METALSIM_MODE=$3 NATTEN_BACKEND=metal NATTEN_TEST_REQUIRE=metal \
        PYTHONPATH=$root/tests/metalsim/python .venv/bin/python -m pytest -q "${@:4}"
}

# python_suite LIBRARY TIER runs all of it in a tier.
python_suite() {
    echo "== test the Python suite in tier $2"
    on_simulator "$1" "$2" fast -m "not slow" tests/python
}

# Every kernel under the checker, the host side and the table of problems in each tier,
# and the Python suite in the first.
run_quick() {
    local tier simulator
    simulator=$(go run ./tests/metalsim/cmd/simbuild)
    go test -shuffle=on -timeout 60m ./tests/metalsim/... ./metalrt ./core/metal
    for tier in "${tiers[@]}"; do
        echo "== test metal, tier $tier"
        on_simulator "$simulator" "$tier" checked tests/metalsim/python
        on_simulator "$simulator" "$tier" fast tests/python/test_metal.py
    done
    python_suite "$simulator" "${tiers[0]}"
}

# The Python suite in the other tiers.
run_slow() {
    local tier simulator
    simulator=$(go run ./tests/metalsim/cmd/simbuild)
    for tier in "${tiers[@]:1}"; do
        python_suite "$simulator" "$tier"
    done
}

## shadercov             line coverage of the shaders by the tests of core/metal, 95 % wanted of each file
run_shadercov() {
    local folder=$root/build/shadercov
    rm -rf -- "$folder"
    mkdir -p -- "$folder"
    METALSIM_MODE=coverage METALSIM_CACHE=$folder \
        go test -count=1 -timeout 60m -run 'Conformance|EveryVariant' ./core/metal
    go run ./tests/metalsim/cmd/shadercov "$folder"
}

"run_$1"
