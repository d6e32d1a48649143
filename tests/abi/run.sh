#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The C side of the library: tests/abi/run.sh LIBRARY [BASE]. Programs in C99
# and C++17, without a warning from any compiler there is; frozen layouts; the
# list of symbols; and the header compared with that of the git revision BASE
# (default: the last release).
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
library=$1
base=${2:-$(git -C "$root" describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)}
build=$root/build/abi
mkdir -p -- "$build"

strict=(-Wall -Wextra -pedantic -Werror -I"$root/include")
folder=$(dirname -- "$library")

# compile_and_run NAME SOURCE COMPILER...
compile_and_run() {
    local program=$build/$1 source=$2
    shift 2
    "$@" "${strict[@]}" -o "$program" "$source" -L"$folder" -lnatten_mps -lm "-Wl,-rpath,$folder"
    "$program"
}

run_programs() {
    local cc name compilers=()
    for cc in gcc clang-19 clang; do
        ! command -v "$cc" >/dev/null || compilers+=("$cc")
    done
    compile_and_run memory "$here/memory.c" "${compilers[0]:-cc}" -std=gnu99 -O1
    for cc in "${compilers[@]:-cc}"; do
        name=${cc//[^a-z]/}
        "$cc" -std=c99 "${strict[@]}" -c -o "$build/layout.o" "$here/layout.c"
        "$cc" -x c++ -std=c++17 "${strict[@]}" -c -o "$build/layout.o" "$here/layout.c"
        compile_and_run "$name-c99" "$here/program.c" "$cc" -std=c99
        compile_and_run "$name-c++17" "$here/program.c" "$cc" -x c++ -std=c++17
        compile_and_run "$name-sanitized" "$here/program.c" "$cc" -std=c99 -g -fsanitize=address,undefined \
            -fno-sanitize-recover=all
        echo "$cc: layouts hold, programs pass"
    done
}

# What the library exports is what the table lists.
check_symbols() {
    local exported listed
    if [[ $library == *.dylib ]]; then
        exported=$(nm -gU "$library" | sed -n 's/.* _\(natten_mps_\)/\1/p' | sort)
    else
        exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | sort)
    fi
    listed=$(sed -n 's/^\(natten_mps_[a-z_]*\) [0-9]*$/\1/p' "$here/symbols.txt" | sort)
    diff <(echo "$listed") <(echo "$exported") >&2 || {
        echo "tests/abi: exported symbols (>) are not those of symbols.txt (<)" >&2
        return 1
    }
    echo "symbols: as listed"
}

# stub HEADER-FOLDER OUTPUT: a library of empty functions with debug information.
stub() {
    gcc -E -P "$1/natten_mps.h" | sed -z 's/\(natten_mps_[a-z_]*([^;{}]*)\);/\1 { return 0; }/g' |
        gcc -w -g -shared -fPIC -x c -o "$2" -
}

compare_with_base() {
    if [[ -z $base ]]; then
        echo "abidiff: skipped, there is no release yet"
        return
    elif ! command -v abidiff >/dev/null; then
        echo "abidiff: skipped, libabigail is not installed"
        return
    fi
    mkdir -p -- "$build/old"
    git -C "$root" show "$base:include/natten_mps.h" >"$build/old/natten_mps.h"
    stub "$build/old" "$build/old.so"
    stub "$root/include" "$build/new.so"
    local report
    report=$(abidiff --harmless --no-added-syms "$build/old.so" "$build/new.so") || true
    # What remains allowed is data members inserted at the end of structs.
    if grep -E '[1-9][0-9]* Removed|member (change|deletion)|enumerator (change|deletion)|type.* changed:$' <<<"$report" |
        grep -v 'underlying type .struct\|has sub-type changes:' >&2; then
        echo "$report" >&2
        echo "tests/abi: the header breaks programs made with $base" >&2
        return 1
    fi
    echo "abidiff: compatible with $base"
}

run_programs
check_symbols
compare_with_base
