#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Compiles the library for tests on the simulated Metal, which loads the simulator that
# NATTEN_MPS_SIMULATOR names, and prints its path for NATTEN_MPS_LIBRARY (Linux only).
# library.sh [OUTPUT]; GOARCH and CC choose the platform.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
output=${1:-$root/build/simulated/libnatten_mps.so}
cd -- "$root"
# shellcheck source=capi/packaging/compile.sh
source "$root/capi/packaging/compile.sh"
compile "$output" simulator
echo "$output"
