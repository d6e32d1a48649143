#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The one entry for people and for CI: ./build.sh VERB [ARGUMENTS]. A verb is a
# function verb_NAME below, and its help is the `## ` line above it.
# shellcheck disable=SC2317,SC2119,SC2120  # verbs and parts are called by name
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cd -- "$root"

# ------------------------------------------------------------------ library --

command -v go >/dev/null || {
    echo "build.sh: Go 1.26 or newer is needed, and \`go\` is not on PATH" >&2
    exit 2
}
# shellcheck source=capi/packaging/compile.sh
source "$root/capi/packaging/compile.sh"

# Whether the library is older than anything that it is made of.
is_stale() {
    [[ ! -e $library ]] || [[ -n $(find capi core include metalrt shaders go.mod go.sum build.sh \
        python/natten_mps/version.py -type f ! -name '*_test.go' -newer "$library") ]]
}

## build                 compile the Go core into python/natten_mps/lib (skipped when up to date)
verb_build() {
    is_stale || return 0
    local started=$SECONDS
    compile "$library"
    echo "built ${library#"$root"/} in $((SECONDS - started)) s"
}

## clean                 remove what build and test created
verb_clean() {
    rm -rf -- build dist python/natten_mps/lib
    find python tests -type d \( -name __pycache__ -o -name .pytest_cache \) -prune -exec rm -rf -- {} +
}

# -------------------------------------------------------------------- tests --

test_parts=(go exported abi py metal)

## test [go|exported|abi|py|metal]  run all tests, or those of one part; creates .venv if there is none
verb_test() {
    local part parts=("$@")
    [[ $# -gt 0 ]] || parts=("${test_parts[@]}")
    for part in "${parts[@]}"; do
        declare -F "test_$part" >/dev/null || fail "no tests called '$part' (want ${test_parts[*]})"
        echo "== test $part"
        "test_$part"
    done
}

# go_test EXCEPT OPTIONS... tests the packages whose path does not match; macOS has
# bash 3.2, which has no mapfile.
go_test() {
    local package packages=()
    while IFS= read -r package; do
        packages+=("$package")
    done < <(go list ./... | grep -v -E "$1")
    [[ ${#packages[@]} -gt 0 ]] || fail "no package is left without those that match $1"
    go test -shuffle=on -timeout 30m "${@:2}" "${packages[@]}"
}

# The packages that neither open the built library nor compile kernels.
test_go() {
    go_test '/(tests/exported|tests/metalsim|tests/metal|core/metal)(/|$)'
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
    tests/faults/run.sh "$library"
}

test_py() {
    verb_setup
    verb_build
    .venv/bin/python -m pytest -q -n auto --maxprocesses 4 --dist worksteal -m "not slow" tests/python
}

# Kernels and their host side, on the GPU that there is or on a simulated one.
test_metal() {
    verb_setup
    verb_build
    tests/metalsim/test.sh quick
}

## mutate [AREA [TEXT|--every N]]  break our sources (metal, python, core) in one place at a time; a test has to fail each time
verb_mutate() {
    local area=${1:-metal} choice=(--only "${2:-}")
    [[ ${2:-} != --every ]] || choice=("${@:2}")
    [[ $goos != darwin || $area != metal ]] || fail "mutate breaks what the simulated Metal runs, which needs Linux"
    verb_setup
    verb_build
    .venv/bin/python tests/mutate/mutate.py --area "$area" "${choice[@]}" --report "build/mutations-$area.md" build/mutate
}

# What `check` adds: slow Python tests, Go without assembly and under the race
# detector, other processors.
test_slow() {
    verb_upstream
    NATTEN_TEST_REQUIRE=upstream .venv/bin/python -m pytest -q tests/python/test_compat_live.py
    verb_clients
    NATTEN_TEST_REQUIRE=clients .venv/bin/python -m pytest -q tests/python/test_compat_clients.py
    .venv/bin/python -m pytest -q -m slow tests/python
    (cd -- core/cpu/internal/kern/_asm && go test ./...)
    # The simulator needs ELF and GNU ld.
    local except='/tests/exported$'
    [[ $goos != darwin ]] || except='/tests/(exported|metalsim)(/|$)'
    NATTEN_TEST_RANGES=full go test -run Ranges ./core/ref ./core/cpu
    go_test "$except" -tags noasm
    go_test "$except" -race -short
    tests/metalsim/test.sh slow
    verb_proof
    verb_dispatch
    packages test
}

## dispatch              run the engine's Go tests on emulated processors, and require the kernels of each
verb_dispatch() {
    if [[ $goos == darwin ]]; then
        echo "== dispatch: skipped, programs of other processors run under qemu-user, which needs Linux"
        return
    fi
    local cpu
    for cpu in Haswell:avx2 qemu64:generic; do
        echo "== dispatch x86-64 ${cpu%:*}, ${cpu#*:} required"
        NATTEN_TEST_REQUIRE=${cpu#*:} go test -short -timeout 60m -exec "qemu-x86_64 -cpu ${cpu%:*}" ./core ./core/cpu/...
    done
    echo "== dispatch arm64, neon required"
    CGO_ENABLED=0 GOOS=linux GOARCH=arm64 NATTEN_TEST_REQUIRE=neon \
        go test -short -timeout 60m -exec qemu-aarch64 ./core ./core/cpu/...
}

## proof [OPTIONS]       prove the window rule of core and of the shaders with z3 (see ./build.sh proof --help)
verb_proof() {
    verb_setup
    .venv/bin/python tests/proof/window.py "$@"
    [[ $# -gt 0 ]] || .venv/bin/python -m pytest -q tests/proof
}

## fuzz [N]              run each fuzz target on N inputs (default 20000)
verb_fuzz() {
    local count=${1:-20000} row
    verb_build
    for row in "./core FuzzWindow" "./core FuzzProblem" "./core/cpu FuzzConformance" "./core/cpu FuzzBlocks" "./tests/exported FuzzCAPI"; do
        echo "== fuzz $row, $count inputs"
        go test -run '^$' -fuzz "^${row#* }\$" -fuzztime "${count}x" "${row% *}"
    done
}

# ------------------------------------------------------------------- python --

# The first Python on PATH that is new enough; PYTHON overrides.
host_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    fail "Python 3.10 or newer is needed (set PYTHON to name one)"
}

## setup                 create .venv with this package (editable), PyTorch and what demo and test need
verb_setup() {
    local stamp=.venv/natten-mps.stamp wanted python
    wanted=$(cksum pyproject.toml setup.py)
    [[ ! -e $stamp || $(<"$stamp") != "$wanted" ]] || return 0
    if [[ ! -x .venv/bin/python ]]; then
        python=$(host_python)
        echo "== making .venv with $("$python" --version) (PyTorch is large: this takes minutes)"
        "$python" -m venv .venv
    fi
    echo "== installing natten-mps and its tools into .venv"
    .venv/bin/python -m pip install --disable-pip-version-check -e '.[demo,test,check]'
    echo "$wanted" >"$stamp"
}

## upstream              install NATTEN 0.21.7 under build, for the tests that compare with it
verb_upstream() {
    local folder=build/upstream/natten-0.21.7
    verb_setup
    [[ -d $folder/natten ]] || .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps \
        --no-build-isolation --target "$folder" natten==0.21.7
}

## clients               install programs that use natten under build, for the tests that run them
verb_clients() {
    verb_setup
    tests/downstream/setup.sh
}

## demo [denoise|dinat|digits] [--readme]  run the demonstration, or parts of it; pictures go to build/demo
verb_demo() {
    verb_setup
    verb_build
    PYTHONPATH=tests .venv/bin/python tests/demo/run.py "$@"
}

## bench [OPTIONS]       time native and pure in one run (see ./build.sh bench --help);
##                       bench gpu: shaders against their naive versions, on an NVIDIA GPU if there is one
##                       bench call: what a call costs, compared with natten-mps 0.3.3
##                       bench long: long windows against torch's attention; every kernel size
##                       bench compare bits|speed OLD NEW: two builds of the library
verb_bench() {
    if [[ ${1:-} == compare ]]; then
        go run ./tests/bench/compare "${@:2}"
        return
    fi
    verb_setup
    if [[ ${1:-} == gpu ]]; then
        tests/bench/gpu.sh
        return
    fi
    verb_build
    if [[ ${1:-} == call ]]; then
        bench_call "${@:2}"
        return
    fi
    if [[ ${1:-} == long ]]; then
        PYTHONPATH=tests .venv/bin/python tests/bench/long.py "${@:2}"
        return
    fi
    PYTHONPATH=tests .venv/bin/python tests/bench/run.py "$@"
}

bench_call() {
    local folder=build/upstream/natten-mps-0.3.3
    [[ -d $folder/natten_mps ]] || .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps \
        --target "$folder" natten-mps==0.3.3
    PYTHONPATH=tests .venv/bin/python tests/bench/overhead.py --peer "$folder" "$@"
}

## docs                  build the reference and the guides as web pages in build/docs
verb_docs() {
    verb_setup
    .venv/bin/python -m pip install -q --disable-pip-version-check -e '.[docs]'
    # With -q warnings are not counted, and strict means nothing.
    NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build -f python/mkdocs.yml
    echo "written: build/docs/index.html"
}

# ----------------------------------------------------------------- programs --

# The verbs of packages.sh; a relative prefix is that of the caller's folder.
packages() { (cd -- "$OLDPWD" && "$root/capi/packaging/packages.sh" "$@"); }
verb_install() { packages install "$@"; }
verb_wheel() { packages wheel "$@"; }
verb_sdist() { packages sdist; }
verb_release() { packages release; }
verb_shadercov() { tests/metalsim/test.sh shadercov; }

# ------------------------------------------------------------------ quality --

## gen                   regenerate the assembly
verb_gen() {
    local generator
    while IFS= read -r generator; do
        (cd -- "$generator" && go run .)
    done < <(find core -type d -name _asm)
}

c_sources() {
    git ls-files -z -- '*.h' '*.hpp' '*.c' '*.cc' '*.metal' ':!tests/metalsim'
}

python_sources=(setup.py capi/packaging python tests)
# What users call, whose docstrings have one shape.
public_sources=(python/natten_mps/{_split,backend,functional,merge,modules,varlen,viz}.py)

clang_format() {
    local name
    for name in clang-format-19 clang-format; do
        if command -v "$name" >/dev/null; then
            "$name" "$@"
            return
        fi
    done
    fail "clang-format is needed"
}

## fmt                   format Go, C, Metal and Python
verb_fmt() {
    verb_setup
    if [[ -x build/tools/golangci-lint ]]; then
        build/tools/golangci-lint fmt ./...
    else
        gofmt -w capi core metalrt shaders tests
    fi
    c_sources | xargs -0 "$root/build.sh" clang-format -i
    .venv/bin/ruff check --fix -q "${python_sources[@]}"
    .venv/bin/ruff format -q "${python_sources[@]}"
}

# For xargs: ./build.sh clang-format OPTIONS FILES.
verb_clang-format() { clang_format "$@"; }

# Vets and compiles what other platforms have: all but capi, which needs cgo, and
# where purego does not go, the engine without Metal.
vet() {
    local target tags
    for target in linux/amd64 linux/arm64 linux/386 linux/arm linux/riscv64 linux/ppc64le linux/loong64 \
        darwin/arm64 darwin/amd64; do
        for tags in "" noasm; do
            CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go vet -tags "$tags" ./...
        done
        CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build ./core/... ./metalrt ./shaders
    done
    for target in linux/s390x linux/mips64le freebsd/amd64 windows/amd64; do
        CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go vet ./core ./core/cpu/... ./core/ref ./core/fenv ./core/scratch ./shaders
    done
    go vet ./capi/...
    go vet -tags simulator ./capi
}

## lint                  run vet, format checks, ruff, mypy, pydoclint, vermin, shellcheck (and what tools installed)
verb_lint() {
    verb_setup
    echo "== go vet, gofmt"
    vet
    local unformatted
    unformatted=$(gofmt -l capi core metalrt shaders tests)
    [[ -z $unformatted ]] || fail "gofmt would change: $unformatted"
    echo "== clang-format"
    c_sources | xargs -0 "$root/build.sh" clang-format --dry-run -Werror
    echo "== ruff, mypy, pydoclint, vermin, shellcheck"
    .venv/bin/ruff check "${python_sources[@]}"
    .venv/bin/ruff format --check "${python_sources[@]}"
    .venv/bin/mypy
    .venv/bin/pydoclint -q --config=pyproject.toml "${public_sources[@]}"
    .venv/bin/vermin --quiet --eval-annotations --no-tips --violations --target=3.10- python/natten_mps setup.py
    git ls-files -z -- '*.sh' .ci/run | xargs -0 shellcheck
    if [[ -x build/tools/golangci-lint ]]; then
        echo "== golangci-lint"
        build/tools/golangci-lint run ./...
    fi
    if [[ -x build/tools/actionlint ]]; then
        echo "== actionlint"
        build/tools/actionlint
    fi
    if [[ -x build/tools/vale ]]; then
        echo "== vale" # of what people read: documents, comments and docstrings; its rules are in tests/prose
        git ls-files -z -- '*.md' '*.py' '*.go' '*.c' '*.h' '*.hpp' '*.cc' '*.cpp' '*.metal' '*.swift' \
            ':!*/testdata/*' ':!tests/metalsim/reject' ':!core/cpu/internal/kern/kernels_*' |
            xargs -0 build/tools/vale --output=line
    fi
}

## tools                 install golangci-lint, actionlint and vale into build/tools, for lint (4 minutes)
verb_tools() {
    local row
    for row in github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2 \
        github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 github.com/errata-ai/vale/v3/cmd/vale@v3.7.1; do
        [[ -x build/tools/$(basename -- "${row%@*}") ]] || GOBIN=$root/build/tools go install "$row"
    done
}

## slow                  run the tests that check adds to those of test
verb_slow() {
    verb_setup
    verb_build
    test_slow
}

## check                 run everything: regenerate, lint, documentation, all tests with the slow ones, other processors
verb_check() {
    verb_tools
    verb_gen
    verb_lint
    verb_docs
    verb_test "${test_parts[@]}"
    echo "== test slow"
    test_slow
    git diff --exit-code || fail "check changed files: commit what gen wrote"
}

# ------------------------------------------------------------------- verbs --

fail() {
    echo "build.sh: $*" >&2
    exit 2
}

## help                  print this list
verb_help() {
    echo "usage: ./build.sh VERB [ARGUMENTS]"
    sed -n 's/^## /  /p' build.sh capi/packaging/packages.sh tests/metalsim/test.sh
}

main() {
    local verb=${1:-build}
    declare -F "verb_$verb" >/dev/null || fail "unknown verb '$verb' (see ./build.sh help)"
    shift || true
    "verb_$verb" "$@"
    exit # before bash reads on in a file that may have changed meanwhile
}

main "$@"
