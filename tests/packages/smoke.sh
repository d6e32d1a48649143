#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Tests the packages in a folder: smoke.sh FOLDER. This machine's wheel is installed into
# a clean environment and used without a compiler or Go on PATH. pip builds the source
# distribution there; without Go or a C compiler, it must say what is missing. The C
# example runs with the arm64 wheel's library on an emulated processor.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
packages=$(cd -- "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

# use ENVIRONMENT runs the package there, with only Python on PATH.
use() {
    env -i PATH="$1/bin" HOME="$scratch" "$1/bin/python" "$root/tests/packages/first_result.py"
}

# refused TEXT PROGRAM... installs the source distribution with only these programs on
# PATH, and requires the message TEXT.
refused() {
    local wanted=$1 program path=$scratch/path
    shift
    mkdir -- "$path"
    for program in "$@"; do
        ln -s -- "$(command -v "$program")" "$path"
    done
    if PATH=$path install_into "$scratch/source" "$sdist" >"$scratch/log" 2>&1; then
        echo "smoke.sh: the source distribution was built with only $* on PATH" >&2
        exit 1
    fi
    grep -F -m 1 -- "$wanted" "$scratch/log" || {
        cat -- "$scratch/log"
        echo "smoke.sh: with only $* on PATH pip did not say: $wanted" >&2
        exit 1
    }
    rm -r -- "$path"
}

case $(uname -s)-$(uname -m) in
    Darwin-*) tag=macosx_14_0_arm64 ;;
    *) tag=manylinux2014_$(uname -m) ;;
esac
echo "== wheel for $tag in a clean environment"
clean_environment "$scratch/wheel"
install_into "$scratch/wheel" "$packages"/*-"$tag".whl
use "$scratch/wheel"

echo "== source distribution in a clean environment"
sdist=$(echo "$packages"/*.tar.gz)
# Missing sources do not always stop the compiler: shaders are found by a pattern.
tar -tzf "$sdist" | cut -d/ -f2- | sort >"$scratch/packed"
git -C "$root" ls-files capi core include metalrt shaders ':!*_test.go' | sort |
    comm -23 - "$scratch/packed" >"$scratch/left-out"
[[ ! -s $scratch/left-out ]] || {
    echo "smoke.sh: not in the source distribution: $(<"$scratch/left-out")" >&2
    exit 1
}
clean_environment "$scratch/source"
refused "needs Go 1.26 or newer, but \`go\` is not on PATH" bash
CC=absent-cc refused "needs a C compiler (cgo links the library with it), but \`absent-cc\` is not on PATH" bash go
install_into "$scratch/source" "$sdist"
use "$scratch/source"

if [[ $(uname -s) != Linux ]]; then
    echo "== arm64 wheel's library: skipped, emulation needs Linux"
    exit
fi
echo "== arm64 wheel's library through the C example, emulated"
"$root/.venv/bin/python" -m zipfile -e "$packages"/*-manylinux2014_aarch64.whl "$scratch/arm64"
aarch64-linux-gnu-gcc -std=c99 "-I$root/include" "$root/tests/examples/attention.c" -o "$scratch/attention" \
    "-L$scratch/arm64/natten_mps/lib" -lnatten_mps -lm
qemu-aarch64 -L /usr/aarch64-linux-gnu -E "LD_LIBRARY_PATH=$scratch/arm64/natten_mps/lib" "$scratch/attention"
