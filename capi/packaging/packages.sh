#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Packages the library: packages.sh install|wheel|sdist|release|test. These are the verbs of
# build.sh, and the tests of the packages.
# shellcheck disable=SC2317  # verbs are called by name
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
cd -- "$root"
# shellcheck source=capi/packaging/compile.sh
source "$root/capi/packaging/compile.sh"

## install PREFIX        install the header, library, pkg-config file and CMake package for C and C++
verb_install() {
    [[ $# -eq 1 ]] || {
        echo "build.sh: install wants one argument: the prefix, such as /usr/local" >&2
        exit 2
    }
    ./build.sh build
    local template target prefix=$1
    [[ $prefix == /* ]] || prefix=$OLDPWD/$prefix
    mkdir -p -- "$prefix"/include "$prefix"/lib/{pkgconfig,cmake/natten_mps}
    install -m 644 include/natten_mps.h include/natten_mps.hpp "$prefix/include"
    install -m 755 "$library" "$prefix/lib"
    for template in capi/packaging/install/*; do
        target=$(basename -- "${template%.in}")
        case $target in
            *.pc) target=pkgconfig/$target ;;
            *) target=cmake/natten_mps/$target ;;
        esac
        sed "s/@version@/$(version)/" "$template" >"$prefix/lib/$target"
    done
    echo "installed natten_mps $(version) in $prefix"
}

# The names of each wheel's target: ours, then those of Go, zig and pip.
wheel_targets=(
    "linux-x86_64 linux amd64 x86_64-linux-gnu.2.17 manylinux2014_x86_64"
    "linux-aarch64 linux arm64 aarch64-linux-gnu.2.17 manylinux2014_aarch64"
    "macos-arm64 darwin arm64 aarch64-macos.14.0 macosx_14_0_arm64"
)

# wheel TARGET GOOS GOARCH ZIG-TARGET TAG: build one wheel from a copy of the tracked sources.
wheel() {
    local stage=$root/build/wheel/$1 name=libnatten_mps.so zig="$root/.venv/bin/python -m ziglang cc -target $4"
    if [[ $2 == darwin ]]; then
        name=libnatten_mps.dylib
        zig+=" -F$root/capi/packaging/macos -L$root/capi/packaging/macos"
    fi
    rm -rf -- "$stage"
    mkdir -p -- "$stage"
    git ls-files -z pyproject.toml setup.py README.md LICENSE python/natten_mps |
        xargs -0 tar -cf - | tar -xf - -C "$stage"
    echo "== wheel $5"
    GOOS=$2 GOARCH=$3 CC=$zig CGO_LDFLAGS=-s compile "$stage/python/natten_mps/lib/$name"
    (cd -- "$stage" && NATTEN_MPS_WHEEL_PLATFORM=$5 SOURCE_DATE_EPOCH=$(epoch) \
        "$root/.venv/bin/python" -m pip wheel -q --no-deps -w "$root/dist" .)
}

## wheel [all|linux-x86_64|linux-aarch64|macos-arm64]  build wheels into dist, cross-compiled; default: this machine's
verb_wheel() {
    local wanted=${1:-} row fields
    ./build.sh setup
    .venv/bin/python -m pip install -q --disable-pip-version-check ziglang==0.17.1 auditwheel
    if [[ -z $wanted ]]; then
        wanted=$(uname -s | sed 's/Darwin/macos/; s/Linux/linux/')-$(uname -m)
    fi
    for row in "${wheel_targets[@]}"; do
        read -ra fields <<<"$row"
        [[ $wanted != all && $wanted != "${fields[0]}" ]] || wheel "${fields[@]}"
    done
    .venv/bin/python tests/packages/check_wheels.py dist/*.whl
}

# The time stamp of files in packages: the commit's, so that builds are reproducible.
epoch() { git log -1 --format=%ct; }

## sdist                 build the source distribution into dist
verb_sdist() {
    ./build.sh setup
    .venv/bin/python -m build --sdist >/dev/null
    .venv/bin/python capi/packaging/release.py normalize "dist/natten_mps-$(version).tar.gz" "$(epoch)"
    echo "written: dist/natten_mps-$(version).tar.gz"
}

## release               build everything that is published into dist: packages, checksums, SBOM, recipes, notes
verb_release() {
    rm -rf -- dist
    verb_wheel all
    verb_sdist
    .venv/bin/python capi/packaging/release.py dist "$(epoch)"
    if command -v ruby >/dev/null; then
        ruby -c dist/natten-mps.rb
    else
        echo "natten-mps.rb: not checked, there is no ruby on PATH"
    fi
}

# The package tests of `check`: a release is built twice with identical results, and the Linux
# wheels, the source distribution and the Swift package work.
verb_test() {
    verb_release
    rm -rf -- build/wheel/first
    mv -- dist build/wheel/first
    verb_release >/dev/null
    diff -r build/wheel/first dist
    tests/packages/smoke.sh dist
    tests/packages/swift.sh
}

"verb_$1" "${@:2}"
