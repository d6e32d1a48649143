#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Tests of the C interface: tests/abi/run.sh LIBRARY [BASE]. Programs in C99 and
# C++17, compiled without warnings by every compiler found; frozen layouts; the
# list of symbols; examples built outside the tree against an installed copy;
# and the header compared with that of the git revision BASE (default: the last
# release).
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
library=$1
base=${2:-$(git -C "$root" describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)}
build=$root/build/abi
mkdir -p -- "$build"
away=$(mktemp -d)
trap 'rm -rf -- "$away"' EXIT

strict=(-Wall -Wextra -pedantic -Werror -I"$root/include")
folder=$(dirname -- "$library")

# compile_and_run NAME SOURCE COMPILER...
compile_and_run() {
    local program=$build/$1 source=$2
    shift 2
    "$@" "${strict[@]}" -o "$program" "$source" -L"$folder" -lnatten_mps -lm "-Wl,-rpath,$folder"
    "$program"
}

# The C and C++ compilers that are installed, in pairs.
compilers() {
    local pair
    for pair in "gcc g++" "clang-19 clang++-19" "clang clang++"; do
        ! command -v "${pair% *}" >/dev/null || echo "$pair"
    done
}

run_programs() {
    local cc cxx sanitize=(-g "-fsanitize=address,undefined" -fno-sanitize-recover=all)
    while read -r cc cxx; do
        "$cc" -std=c99 "${strict[@]}" -c -o "$build/layout.o" "$here/layout.c"
        "$cxx" -x c++ -std=c++17 "${strict[@]}" -c -o "$build/layout.o" "$here/layout.c"
        compile_and_run "$cc-c99" "$here/program.c" "$cc" -std=c99
        compile_and_run "$cc-sanitized" "$here/program.c" "$cc" -std=c99 "${sanitize[@]}"
        compile_and_run "$cxx-17" "$here/program.c" "$cxx" -x c++ -std=c++17
        compile_and_run "$cxx-wrapper" "$here/wrapper.cc" "$cxx" -std=c++17 "${sanitize[@]}"
        echo "$cc, $cxx: layouts hold, programs pass"
    done < <(compilers)
    compile_and_run memory "$here/memory.c" cc -std=gnu99 -O1
    compile_and_run addresses "$here/addresses.c" cc -std=gnu99 -pthread
}

# The examples as a user builds them: copied out of the tree, with only an
# installed prefix.
run_examples() {
    local prefix=$away/prefix cc cxx flags
    "$root/build.sh" install "$prefix" >/dev/null
    cp -r "$root/tests/examples" "$away/examples"
    cd -- "$away/examples"
    if command -v pkg-config >/dev/null; then
        read -ra flags < <(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags --libs natten_mps)
        flags+=("-Wl,-rpath,$prefix/lib" -Wall -Wextra -pedantic -Werror)
        while read -r cc cxx; do
            "$cc" -std=c99 attention.c -o c "${flags[@]}"
            ./c >/dev/null
            "$cc" -std=c99 -g "-fsanitize=address,undefined" attention.c -o sanitized "${flags[@]}"
            ./sanitized >/dev/null
            "$cc" -std=c99 -g "-fsanitize=address,undefined" stream.c -o stream "${flags[@]}" -lm
            ./stream >/dev/null
            "$cxx" -std=c++17 attention.cc -o cc "${flags[@]}"
            ./cc >/dev/null
            echo "$cc, $cxx: examples build by pkg-config and run"
        done < <(compilers)
    fi
    if command -v cmake >/dev/null; then
        cmake -S . -B cmake -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
        cmake --build cmake >/dev/null
        cmake/attention_c >/dev/null
        cmake/stream >/dev/null
        cmake/attention_cc >/dev/null
        echo "cmake: examples build by find_package and run"
    fi
    cd -- "$root"
}

# The clang module that Swift imports; tests/packages/swift.sh compiles the rest.
check_module() {
    local clang
    for clang in clang-19 clang; do
        command -v "$clang" >/dev/null || continue
        echo '@import CNattenMPS; int main(void) { return (int)natten_mps_abi_version(); }' |
            "$clang" -x objective-c -fmodules -fmodules-cache-path="$build/modules" -I"$root/include" \
                -fmodule-map-file="$root/include/swift/Sources/CNattenMPS/module.modulemap" -fsyntax-only \
                -Wall -Wextra -Werror -
        echo "$clang: the header is a module"
        return
    done
}

# The library exports exactly the symbols that the table lists.
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

# changed NAME SED-COMMAND: a copy of the header with one thing changed (Linux only).
changed() {
    mkdir -p -- "$build/$1"
    sed "$2" "$root/include/natten_mps.h" >"$build/$1/natten_mps.h"
    ! cmp -s "$root/include/natten_mps.h" "$build/$1/natten_mps.h" || {
        echo "tests/abi: '$2' changes nothing in the header" >&2
        return 1
    }
}

# Each change that the frozen layouts or the list of symbols must detect
# (Linux only).
check_that_changes_are_seen() {
    local name missed=()
    changed reordered '/^typedef struct natten_mps_axis/,/^}/ { /int64_t kernel;/ { h; d }; /int64_t dilation;/ { G } }'
    changed enumerator 's/NATTEN_MPS_FLOAT16 = 2,/NATTEN_MPS_FLOAT16 = 5,/'
    for name in reordered enumerator; do
        ! cc -std=c99 "-I$build/$name" -c -o "$build/layout.o" "$here/layout.c" 2>/dev/null || missed+=("$name")
    done
    changed removed '/^NATTEN_MPS_API/ { N; /natten_mps_supports(/ { N; N; d } }'
    stub "$build/removed" "$build/removed.so"
    ! library=$build/removed.so check_symbols 2>/dev/null >&2 || missed+=(removed)
    stub "$root/include" "$build/whole.so"
    library=$build/whole.so check_symbols >/dev/null || missed+=(whole)
    if [[ ${#missed[@]} -gt 0 ]]; then
        echo "tests/abi: not seen: ${missed[*]}" >&2
        return 1
    fi
    echo "mutations: a reordered field, another enumerator and a removed symbol are seen"
}

# stub HEADER-FOLDER OUTPUT: a library of empty functions with debug information
# (Linux only).
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
    # The only change allowed is new data members at the end of structs.
    if grep -E '[1-9][0-9]* Removed|member (change|deletion)|enumerator (change|deletion)|type.* changed:$' <<<"$report" |
        grep -v -e 'underlying type .struct' -e 'has sub-type changes:' >&2; then
        echo "$report" >&2
        echo "tests/abi: the header breaks programs made with $base" >&2
        return 1
    fi
    echo "abidiff: compatible with $base"
}

run_programs
run_examples
check_module
check_symbols
[[ $(uname -s) != Linux ]] || check_that_changes_are_seen
compare_with_base
