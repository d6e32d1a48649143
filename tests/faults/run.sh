#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The library in a hostile process: tests/faults/run.sh LIBRARY [NAME...]. Each program
# is compiled and run with the library's path as its argument. Exit status 0 is success;
# 77 means that the test cannot run on this machine.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
root=$(cd -- "$here/../.." && pwd)
library=$1
shift
build=$root/build/faults
mkdir -p -- "$build"

# Programs that need Linux say so in their first comment.
runs_here() {
    [[ $(uname -s) == Linux ]] || ! head -n 8 -- "$1" | grep -q '(Linux only)'
}

# run_program SOURCE
run_program() {
    local name program status=0
    name=$(basename -- "$1" .c)
    program=$build/$name
    cc -std=gnu99 -O1 -g -Wall -Wextra -Werror -pthread -I"$root/include" -I"$here" -o "$program" "$1" -ldl -lm
    "$program" "$library" || status=$?
    case $status in
        0) echo "$name: as promised" ;;
        77) echo "$name: skipped" ;;
        *)
            echo "tests/faults: $name ended with $status" >&2
            return 1
            ;;
    esac
}

failed=()
for source in "$here"/*.c; do
    name=$(basename -- "$source" .c)
    if [[ $# -gt 0 && " $* " != *" $name "* ]] || ! runs_here "$source"; then
        continue
    fi
    run_program "$source" || failed+=("$name")
done
if [[ ${#failed[@]} -gt 0 ]]; then
    echo "tests/faults: ${#failed[@]} failed: ${failed[*]}" >&2
    exit 1
fi
