#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Compiles the Swift package, its example and the Swift blocks of the guide, and runs
# them with an installed library. Without `swift` on PATH, as root on Linux with
# debootstrap, a Debian with a Swift compiler is installed below build/_swift, once
# (3.3 GB, 4 minutes), and used through chroot.
set -euo pipefail
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
tree=$root/build/_swift
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

# Installs that Debian (Linux only).
fill_tree() {
    rm -rf -- "$tree" &&
        mkdir -p -- "$tree" &&
        debootstrap --variant=minbase trixie "$tree" &&
        cp /etc/resolv.conf "$tree/etc" &&
        DEBIAN_FRONTEND=noninteractive chroot "$tree" apt-get install -y -qq --no-install-recommends \
            swiftlang pkg-config libc6-dev libstdc++-14-dev &&
        touch -- "$tree/ready"
}

# Installs it unless it exists (Linux only).
make_tree() {
    [[ ! -e $tree/ready ]] || return 0
    echo "== making a Debian with Swift in build/_swift"
    fill_tree >"$scratch/log" 2>&1 || {
        tail -- "$scratch/log"
        exit 1
    }
}

# Runs the package in folder $1 with the library that is installed in $2.
run_here() {
    (cd -- "$1" && PKG_CONFIG_PATH=$2/lib/pkgconfig swift run -Xlinker -rpath -Xlinker "$2/lib" Example)
}

# The same inside that Debian (Linux only). Swift finds its own files through /proc; the
# mount ends with its namespace.
run_in_tree() {
    rm -rf -- "$tree/package" "$tree/prefix"
    cp -r -- "$1" "$tree/package"
    cp -r -- "$2" "$tree/prefix"
    # shellcheck disable=SC2016
    unshare --mount --pid --fork sh -c 'mount -t proc proc "$1/proc" && exec chroot "$1" env HOME=/root \
        PKG_CONFIG_PATH=/prefix/lib/pkgconfig \
        sh -c "cd /package && swift run -Xlinker -rpath -Xlinker /prefix/lib Example"' sh "$tree"
}

if command -v swift >/dev/null; then
    run=run_here
elif [[ $(uname -s) == Linux && $(id -u) == 0 ]] && command -v debootstrap >/dev/null; then
    make_tree
    run=run_in_tree
elif [[ ${NATTEN_TEST_REQUIRE:-} == *swift* ]]; then
    echo "swift.sh: no swift on PATH, and no debootstrap to be used as root" >&2
    exit 1
else
    echo "swift: skipped, there is no swift on PATH, and no debootstrap to be used as root"
    exit
fi

"$root/build.sh" install "$scratch/prefix" >/dev/null
cp -r -- "$root/include/swift" "$scratch/package"
rm -rf -- "$scratch/package/.build"
main=$scratch/package/Sources/Example/main.swift
try() {
    "$run" "$scratch/package" "$scratch/prefix" >"$scratch/log" 2>&1 || {
        cat -- "$scratch/log"
        echo "swift.sh: $1 failed" >&2
        exit 1
    }
    echo "swift: $1: $(tail -n 1 "$scratch/log")"
}
try "the example"
cp -- "$root/tests/packages/memory.swift" "$main"
try "kinds of memory"
document=python/docs/swift.md
awk '/^```swift$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$root/$document" >"$main"
echo 'print("out[0] = \(out[0])")' >>"$main"
try "the block of $document"
