#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Tests the GPU backend on arm64, the processor of Macs (Linux only): run.sh quick|full|go ARGUMENTS.
# On other processors it uses qemu-user, with pages of 16 KiB as on a Mac.
#   quick  the host side against its mock, and the simulator's rules
#   go     go test of the arguments
#   full   also with cgo, the table of problems without checks and part of it with checks, and the
#          C library with several threads on every stream
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../../.."
build=$PWD/build/arm64
mkdir -p -- "$build"

if [[ $(uname -m) == aarch64 ]]; then
    emulator=()
    executor=()
    compiler=cc
else
    emulator=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
    # Pages of 16 KiB for Go programs; a C program's dynamic loader fails with them in qemu 7.2.
    executor=(-exec "${emulator[*]} -p 16384")
    compiler=aarch64-linux-gnu-gcc
fi
NATTEN_METALSIM_LIBRARY=$(NATTEN_METALSIM_ARCH=arm64 go run ./tests/metalsim/cmd/simbuild)
export NATTEN_METALSIM_LIBRARY

# on_arm64 CGO ARGUMENTS... runs go test.
on_arm64() {
    CC=$compiler CGO_ENABLED=$1 GOOS=linux GOARCH=arm64 go test -timeout 60m ${executor[@]+"${executor[@]}"} "${@:2}"
}

run_quick() {
    echo "== arm64: the host side and the simulator's rules"
    on_arm64 0 ./metalrt ./tests/metalsim/simulator
}

# All problems run without checks, and the first problem of each rank with checks.
run_tables() {
    echo "== arm64: with cgo"
    on_arm64 1 ./metalrt
    echo "== arm64: the table of problems, fast"
    METALSIM_MODE=fast on_arm64 0 -run 'Conformance' ./core/metal
    echo "== arm64: some problems, checked"
    on_arm64 0 -run 'TestProblems/(1d|2d|3d)$' ./tests/metalsim/endtoend
}

run_threads() {
    echo "== arm64: the C library, several threads"
    CC=$compiler GOARCH=arm64 GOOS=linux tests/metalsim/library.sh "$build/libnatten_mps.so"
    "$compiler" -std=gnu11 -Wall -Wextra -Werror -O1 -pthread -Iinclude -o "$build/threads" tests/metalsim/arm64/threads.c \
        "-L$build" -lnatten_mps "$NATTEN_METALSIM_LIBRARY" -lm "-Wl,-rpath,$build"
    local stream torch
    for stream in host own torch torch_queue; do
        torch=2.15
        [[ $stream != torch_queue ]] || torch=2.9
        METALSIM_TORCH=$torch METALSIM_MODE=fast NATTEN_MPS_VERIFY=off NATTEN_MPS_SIMULATOR=$NATTEN_METALSIM_LIBRARY \
            ${emulator[@]+"${emulator[@]}"} "$build/threads" "$NATTEN_METALSIM_LIBRARY" "$stream"
    done
}

case ${1:-quick} in
    go) on_arm64 0 "${@:2}" ;;
    quick) run_quick ;;
    full)
        run_quick
        run_tables
        run_threads
        ;;
    *)
        echo "run.sh: want quick, full or go ARGUMENTS" >&2
        exit 2
        ;;
esac
