# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154,SC2034  # the sourcing script sets root and uses library
#
# Functions that compile the library; build.sh and packages.sh source this file.

goos=$(go env GOOS)
case $goos in
    darwin) library=$root/python/natten_mps/lib/libnatten_mps.dylib ;;
    *) library=$root/python/natten_mps/lib/libnatten_mps.so ;;
esac

version() {
    sed -n 's/^__version__ = "\(.*\)"$/\1/p' python/natten_mps/version.py
}

# Export natten_mps_* only: through an ELF version script, on macOS through the
# header's visibility attributes.
link_flags() {
    if [[ $(go env GOOS) == darwin ]]; then
        echo "-Wl,-install_name,@rpath/libnatten_mps.dylib"
    else
        echo "'-Wl,--version-script=$root/capi/exports.map' -Wl,-soname,libnatten_mps.so"
    fi
}

# compile FILE [TAGS]: compile the library. GOOS, GOARCH and CC select the platform.
compile() {
    local output=$1 partial=$1.partial cflags=${CGO_CFLAGS:--O2}
    mkdir -p -- "$(dirname -- "$output")"
    [[ $(go env GOOS) != darwin ]] || cflags+=" -fvisibility=hidden"
    CGO_ENABLED=1 CGO_CFLAGS=$cflags go build -buildmode=c-shared -trimpath -buildvcs=false -tags "${2:-}" \
        -ldflags "-s -w -X main.version=$(version) -extldflags \"$(link_flags)\"" \
        -o "$partial" ./capi
    # cgo also writes a header, which is not part of the interface.
    rm -f -- "$output.h" "${partial%.*}.h"
    mv -- "$partial" "$output"
}
