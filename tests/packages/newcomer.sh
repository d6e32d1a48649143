#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Times a newcomer's first steps. newcomer.sh wheel WHEEL: from `pip install WHEEL` in
# an empty environment, with PyTorch installed, to the first results, forward and
# backward. newcomer.sh clone: from `git clone` to the first picture of ./build.sh demo,
# including the installation of PyTorch.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

now() { "$root/.venv/bin/python" -c "import time; print(time.time())"; }

report() {
    awk -v a="$started" -v b="$(now)" -v what="$1" 'BEGIN { printf "%s: %.1f s\n", what, b - a }'
}

case ${1:-} in
    wheel)
        clean_environment "$scratch/environment"
        started=$(now)
        install_into "$scratch/environment" "$2"
        report "pip install"
        "$scratch/environment/bin/python" "$root/tests/packages/first_result.py"
        report "pip install to the first result"
        ;;
    clone)
        started=$(now)
        git clone -q -- "$root" "$scratch/natten-mps"
        cd -- "$scratch/natten-mps"
        ./build.sh demo denoise
        report "clone to the first picture"
        find build/demo -name '*.png'
        ;;
    *)
        echo "newcomer.sh: wants 'wheel WHEEL' or 'clone'" >&2
        exit 2
        ;;
esac
