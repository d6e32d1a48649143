#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The one entry for people and for CI: ./build.sh VERB [ARGUMENTS]. A verb is a
# function verb_NAME below, and its help is the `## ` line above it.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$root"

# ------------------------------------------------------------------ library --

goos=$(go env GOOS)
case $goos in
    darwin) library=$root/python/natten_mps/lib/libnatten_mps.dylib ;;
    *) library=$root/python/natten_mps/lib/libnatten_mps.so ;;
esac

version() {
    sed -n 's/^__version__ = "\(.*\)"$/\1/p' python/natten_mps/version.py
}

# Only natten_mps_* leaves the library: an ELF version script, on macOS the
# header's visibility attributes.
link_flags() {
    if [[ $goos == darwin ]]; then
        echo "-Wl,-install_name,@rpath/libnatten_mps.dylib"
    else
        echo "'-Wl,--version-script=$root/capi/exports.map' -Wl,-soname,libnatten_mps.so"
    fi
}

# Whether the library is older than anything that it is made of.
is_stale() {
    [[ ! -e $library ]] || [[ -n $(find capi core include metalrt shaders go.mod go.sum build.sh \
        python/natten_mps/version.py -type f ! -name '*_test.go' -newer "$library" -print -quit) ]]
}

## build                 compile the Go core into python/natten_mps/lib (skipped when up to date)
verb_build() {
    is_stale || return 0
    local started=$SECONDS partial=$library.partial
    mkdir -p -- "$(dirname -- "$library")"
    [[ $goos == darwin ]] && export CGO_CFLAGS="${CGO_CFLAGS:--O2} -fvisibility=hidden"
    CGO_ENABLED=1 go build -buildmode=c-shared -trimpath -buildvcs=false \
        -ldflags "-s -w -X main.version=$(version) -extldflags \"$(link_flags)\"" \
        -o "$partial" ./capi
    # cgo writes a header of its own, which nobody is to use.
    rm -f -- "$library.h" "${partial%.*}.h"
    mv -- "$partial" "$library"
    echo "built ${library#"$root"/} in $((SECONDS - started)) s"
}

## clean                 remove what build and test made
verb_clean() {
    rm -rf -- build dist python/natten_mps/lib
    find python tests -type d \( -name __pycache__ -o -name .pytest_cache \) -prune -exec rm -rf -- {} +
}

# -------------------------------------------------------------------- tests --

## test [go|exported|abi|py]  run all tests, or those of one part
verb_test() {
    local part parts=("$@")
    [[ $# -gt 0 ]] || parts=(go exported abi py)
    for part in "${parts[@]}"; do
        declare -F "test_$part" >/dev/null || fail "no tests called '$part' (want go, exported, abi or py)"
        echo "== test $part"
        "test_$part"
    done
}

# The packages that do not open the built library.
test_go() {
    local packages
    mapfile -t packages < <(go list ./... | grep -v /tests/exported)
    go test -shuffle=on "${packages[@]}"
}

# The built library, through its exported symbols.
test_exported() {
    verb_build
    go test -shuffle=on ./tests/exported
}

# C and C++ programs against the header and the built library.
test_abi() {
    verb_build
    tests/abi/run.sh "$library"
}

test_py() {
    verb_build
    "$(python_of_tests)" -m pytest -q tests/python
}

python_of_tests() {
    if [[ -x .venv/bin/python ]]; then echo .venv/bin/python; else echo python3; fi
}

# ------------------------------------------------------------------- verbs --

fail() {
    echo "build.sh: $*" >&2
    exit 2
}

## help                  this list
verb_help() {
    echo "usage: ./build.sh VERB [ARGUMENTS]"
    sed -n 's/^## /  /p' build.sh
}

main() {
    local verb=${1:-build}
    declare -F "verb_$verb" >/dev/null || fail "unknown verb '$verb' (see ./build.sh help)"
    shift || true
    "verb_$verb" "$@"
}

main "$@"
