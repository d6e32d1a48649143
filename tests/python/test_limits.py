# SPDX-License-Identifier: MIT
"""A library that is missing or cannot start: one answer everywhere, and the process lives."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ASK = """
import os, sys, warnings
import torch, natten_mps as nm
q = torch.ones(1, 8, 1, 4)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for length in (8, 7, 6):
        nm.na1d(q[:, :length], q[:, :length], q[:, :length], 3)
print(nm.get_backend(), len(caught), *[w.message for w in caught])
try:
    nm.set_backend("native")
except NotImplementedError as error:
    print(error)
try:
    from natten_mps import _lib
    _lib.library()
except nm.LibraryError as error:
    print("LibraryError", error)
"""


def ask(code=ASK, command=(), **environment):
    """Lines that a separate process prints; it must exit by itself and without an error."""
    environment = {"NATTEN_BACKEND": "", "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [*command, sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def refused(lines, *reasons):
    """Whether all ways to ask gave the same answer, with its reasons."""
    used, native, library = lines
    assert used.startswith("pure 1 natten_mps computes with 'pure' in this process: ")
    assert native.startswith("Backend 'native' is not available in this build.")
    assert library.startswith("LibraryError ")
    for line in lines:
        for reason in reasons:
            assert reason in line


def test_missing_library_has_one_answer():
    refused(ask(NATTEN_MPS_LIBRARY="/nowhere/lib.so"), "no library at /nowhere/lib.so")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("GOMEMLIMIT", "12 GB", "GOMEMLIMIT=12 GB: fatal error: malformed GOMEMLIMIT"),
        ("GOMEMLIMIT", "-5", "GOMEMLIMIT=-5: fatal error: malformed GOMEMLIMIT"),
        ("GODEBUG", "cgocheck=2", "GODEBUG=cgocheck=2: fatal error: cgocheck > 1"),
        ("GOMAXPROCS", "10000000", "GOMAXPROCS=10000000: "),
    ],
)
def test_environment_that_ends_gos_runtime(name, value, reason):
    refused(ask(**{name: value}), reason, "Go's runtime")


@pytest.mark.parametrize(("name", "value"), [("GOMEMLIMIT", "2GiB"), ("GODEBUG", "gctrace=0")])
def test_environment_that_does_not(name, value):
    best = "metal" if os.environ.get("NATTEN_BACKEND") == "metal" else "native"
    assert ask(**{name: value}) == [f"{best} 0"]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced")
def test_little_address_space():
    used = ask("""
        import torch, natten_mps as nm
        print(open("/proc/self/statm").read().split()[0])
    """)[0]
    pages = int(used) + (700 << 20) // os.sysconf("SC_PAGE_SIZE")  # the runtime needs more
    limit = ("prlimit", f"--as={pages * os.sysconf('SC_PAGE_SIZE')}")
    refused(ask(command=limit), "of address space", "Go's runtime")


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_NPROC counts processes elsewhere")
def test_few_threads():
    """As another user, where this one is root, to whom the limit does not apply."""
    user = ()
    if os.getuid() == 0:
        user = ("setpriv", "--reuid=54321", "--clear-groups")
    start = ("prlimit", "--nproc=7", *user)
    code = f"import os; os.environ['TMPDIR'] = '/tmp'\n{ASK}"
    refused(ask(code, command=start, HOME="/tmp"), "7 threads", "Go's runtime")


LOCKED = """
    import os, signal
    import torch, natten_mps as nm
    from natten_mps import _prepared
    q = torch.ones(1, 8, 1, 4)
    _prepared._lock.acquire()  # as if held by a thread that does not exist in the child
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        print(nm.na1d(q, q, q, 3).sum().item(), flush=True)
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""


def test_locks_are_open_after_fork():
    assert ask(LOCKED) == ["32.0", "0"]


def test_a_trial_that_hangs_is_given_up(tmp_path, monkeypatch):
    from natten_mps import _rehearsal

    source = "#include <unistd.h>\n__attribute__((constructor)) void f(void) { sleep(60); }\n"
    (tmp_path / "hang.c").write_text(source)
    library = tmp_path / "hang.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "hang.c"], check=True)
    monkeypatch.setattr(_rehearsal, "PATIENCE", 0.5)
    monkeypatch.setenv("GODEBUG", "gctrace=0")
    assert "wait status 9" in _rehearsal.why_not(library)


@pytest.mark.parametrize(
    ("groups", "limits", "want"),
    [
        ("0::/a/b\n", {"a/pids.max": "12", "a/b/pids.max": "max"}, 12),
        ("8:pids:/x\n7:cpu:/x\n", {"pids/x/pids.max": "9", "x/pids.max": "3"}, 9),
        ("0::/\n", {}, float("inf")),
    ],
)
def test_threads_of_control_groups(tmp_path, groups, limits, want):
    from natten_mps import _rehearsal

    (tmp_path / "cgroup").write_text(groups)
    for name, text in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert _rehearsal.group_threads(tmp_path / "cgroup", Path(tmp_path)) == want
