# SPDX-License-Identifier: MIT
"""The compiled library under the package: loading, versions, forks, threads, plans, memory."""

import ctypes
import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import torch

import natten_mps as nm
from natten_mps import _abi, _lib, _operation, _plan, _prepared, backend, ops
from natten_mps.ops import Window
from natten_mps.version import __version__

# Python 3.12 and later warn of fork() in a process with threads, which Go's are.
QUIET_FORKS = "ignore:This process:DeprecationWarning"


def python(code, **environment):
    """Run code in a separate process that has imported what tests need; return its output."""
    code = "import natten_mps as nm, os, sys\n" + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-W", QUIET_FORKS, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _default_backend(monkeypatch):
    """These tests use the library on host memory, even if the GPU is the default."""
    monkeypatch.delenv("NATTEN_BACKEND", raising=False)
    monkeypatch.setattr(backend, "choice", "auto")


def test_importing_does_no_work():
    out = python(
        """
        print("torch" in sys.modules, nm._lib._library)
        print(nm.__version__, set(dir(nm)) - set(nm.__all__) == nm._SUBMODULES, len(nm.__all__))
        nm.na1d
        print("torch" in sys.modules, nm._lib._library)
    """.replace("nm._lib._library", "sys.modules.get('natten_mps._lib') and nm._lib._library")
    )
    assert out.splitlines() == ["False None", f"{__version__} True 25", "True None"]


MISSING = """
    import torch
    q = torch.zeros(1, 5, 1, 2)
    try:
        nm.na1d(q, q, q, 3)
    except ImportError as error:
        print(error)
    nm.set_backend("pure")
    print(nm.na1d(q, q, q, 3).shape, nm.get_support_matrix()["native"]["available"])
"""


def test_missing_library():
    out = python(MISSING, NATTEN_MPS_LIBRARY="/nowhere/libnatten_mps.so")
    assert f"natten_mps {__version__}: no library at /nowhere/libnatten_mps.so" in out
    assert "torch.Size([1, 5, 1, 2]) False" in out


def test_file_that_is_no_library(tmp_path):
    (tmp_path / "lib.so").write_text("no library")
    out = python(MISSING, NATTEN_MPS_LIBRARY=str(tmp_path / "lib.so"))
    assert f"cannot load {tmp_path}/lib.so" in out


@pytest.mark.parametrize(("version", "newest", "oldest"), [("9.9.9", 1, 1), (__version__, 9, 8)])
def test_library_of_another_version(tmp_path, version, newest, oldest):
    names = [n for n in _abi.FUNCTIONS if "version" not in n and "minimum" not in n]
    source = "".join(f"int {name}(void) {{ return 0; }}\n" for name in names)
    source += f'const char* natten_mps_version(void) {{ return "{version}"; }}\n'
    source += f"unsigned natten_mps_abi_version(void) {{ return {newest}; }}\n"
    source += f"unsigned natten_mps_abi_minimum(void) {{ return {oldest}; }}\n"
    (tmp_path / "lib.c").write_text(source)
    library = tmp_path / "lib.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "lib.c"], check=True)
    out = python(MISSING, NATTEN_MPS_LIBRARY=str(library))
    assert str(library) in out
    assert f"is version {version}, ABI {oldest} to {newest}" in out
    assert f"this natten_mps is version {__version__}, ABI {_abi.ABI_VERSION}" in out


def test_unknown_backend_in_the_environment_is_reported():
    out = python("print(nm.get_backend())", NATTEN_BACKEND="cuda")
    assert "NATTEN_BACKEND: Unknown backend 'cuda'" in out
    assert "native" in out
    assert python("print(nm.get_backend())", NATTEN_BACKEND="nanobind") == "native\n"


FORK = """
    import torch, warnings
    q = torch.randn(1, 50, 2, 8)
    warm = {warm}
    if warm:
        nm.na1d(q, q, q, 3)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outs = [nm.na1d(q, q, q, 3) for _ in range(3)]
        print("warnings", len(caught), flush=True)
        try:
            nm.set_backend("native")
            nm.na1d(q, q, q, 3)
            print("native computed", flush=True)
        except Exception as error:
            print(type(error).__name__, "fork" in str(error), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print(nm.na1d(q, q, q, 3).shape)
"""


def test_fork_after_use_computes_with_pure_and_does_not_hang():
    out = python(FORK.format(warm=True)).splitlines()
    assert out == ["warnings 1", "NotImplementedError True", "torch.Size([1, 50, 2, 8])"]


def test_fork_before_use_computes_natively():
    out = python(FORK.format(warm=False)).splitlines()
    assert out == ["warnings 0", "native computed", "torch.Size([1, 50, 2, 8])"]


def test_backward_in_a_fork_of_a_forward_pass_raises():
    out = python("""
        import torch
        q = torch.randn(1, 50, 2, 8, requires_grad=True)
        out = nm.na1d(q, q, q, 3)
        sys.stdout.flush()
        if os.fork() == 0:
            try:
                torch.set_num_threads(1)
                out.sum().backward()
            except RuntimeError as error:
                print("fork" in str(error), flush=True)
            os._exit(0)
        os.wait()
    """)
    assert out == "True\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader_workers(method, tmp_path):
    script = tmp_path / "load.py"
    script.write_text(
        textwrap.dedent("""
        import sys
        import torch
        import natten_mps as nm

        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, i):
                x = torch.full((1, 6, 1, 2), float(i))
                return nm.na1d(x, x, x, 3)[0]

        if __name__ == "__main__":
            x = torch.zeros(1, 6, 1, 2)
            nm.na1d(x, x, x, 3)
            loader = torch.utils.data.DataLoader(
                Data(), num_workers=2, multiprocessing_context=sys.argv[1]
            )
            print(sum(batch.mean().item() for batch in loader))
        """)
    )
    done = subprocess.run(
        [sys.executable, script, method], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6.0\n"


def plan_of(q, window):
    inputs = (q, q, q, None, None, None)
    kinds = _prepared.kinds_of(inputs)
    return _prepared.prepare(_operation.ATTN, inputs, kinds, window, None, False, False)


K3 = Window((3,), (1,), (1,), (1,), (False,))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_torchs_thread_count_goes_to_the_library(monkeypatch, threads):
    q = torch.randn(1, 8, 1, 2)
    plan = plan_of(q, K3).plan
    seen = []
    run = plan._run

    def spy(handle, args, error):
        seen.append(_abi.Args.from_buffer_copy(args).num_threads)
        return run(handle, args, error)

    monkeypatch.setattr(plan, "_run", spy)
    torch.set_num_threads(threads)
    ops.attn(q, q, q, window=K3)
    assert seen == [threads]


def test_a_run_releases_the_gil():
    q = torch.randn(1, 400_000, 1, 32)
    ops.attn(q[:, :10], q[:, :10], q[:, :10], window=K3)
    wide = Window((63,), (1,), (1,), (1,), (False,))
    plan_of(q, wide)
    ticks, done = 0, threading.Event()

    def work():
        ops.attn(q, q, q, window=wide)
        done.set()

    worker = threading.Thread(target=work)
    started = time.perf_counter()
    worker.start()
    while not done.is_set():
        ticks += 1
        time.sleep(0.001)
    worker.join()
    spent = time.perf_counter() - started
    assert spent > 0.02, "the work is too short to tell"
    assert ticks > 5


def test_threads_share_plans():
    q = torch.randn(2, 40, 2, 8)
    want = nm.na1d(q, q, q, 5)
    failures = []

    def work():
        for _ in range(200):
            if not torch.equal(nm.na1d(q, q, q, 5), want):
                failures.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not failures


def test_evicted_plans_are_destroyed_with_their_last_user(monkeypatch):
    monkeypatch.setattr(_prepared, "_prepared", {})
    monkeypatch.setattr(_prepared, "CAPACITY", 4)
    held = plan_of(torch.randn(1, 10, 1, 2), K3)
    handle = held.plan._handle
    for length in range(11, 20):
        plan_of(torch.randn(1, length, 1, 2), K3)
    assert len(_prepared._prepared) == 4
    q = torch.randn(1, 10, 1, 2)
    held.forward((q, q, q, None, None, None), None)
    del held
    gc.collect()
    info, error = _abi.new(_abi.PlanInfo), _abi.new(_abi.Error)
    status = _lib.library().natten_mps_plan_info_get(handle, info, error)
    assert status == _abi.BAD_HANDLE


def test_plan_says_what_it_chose():
    info = plan_of(torch.randn(1, 10, 1, 2), K3).plan.info()
    assert info["backend"] == "native"
    assert info["variant"]


def test_fallback_is_logged_with_its_reason(caplog, monkeypatch):
    monkeypatch.setattr(_plan, "reasons_against", lambda problem, backend: "it is Tuesday")
    monkeypatch.setattr(_prepared, "_prepared", {})
    q = torch.randn(1, 6, 1, 2)
    with caplog.at_level(logging.INFO, "natten_mps"):
        assert nm.na1d(q, q, q, 3).shape == q.shape
    assert "it is Tuesday" in caplog.text
    nm.set_backend("native")
    with pytest.raises(NotImplementedError, match="it is Tuesday"):
        nm.na1d(q, q, q, 3)


def test_log_level():
    out = python("nm.get_backend()", NATTEN_LOG_LEVEL="debug")
    assert "natten_mps DEBUG: loaded" in out
    assert "is no level" in python("nm.get_backend()", NATTEN_LOG_LEVEL="loud")


def test_structs_have_the_sizes_of_the_header(tmp_path):
    pairs = {
        "error": _abi.Error,
        "axis": _abi.Axis,
        "problem": _abi.Problem,
        "tensor": _abi.Tensor,
        "args": _abi.Args,
        "backend_info": _abi.BackendInfo,
        "plan_info": _abi.PlanInfo,
        "window_info": _abi.WindowInfo,
    }
    header = os.path.join(os.path.dirname(__file__), "..", "..", "include")
    lines = "".join(f'printf("%zu ", sizeof(natten_mps_{name}));' for name in pairs)
    (tmp_path / "sizes.c").write_text(
        f'#include "natten_mps.h"\n#include <stdio.h>\nint main(void) {{ {lines} return 0; }}\n'
    )
    program = tmp_path / "sizes"
    subprocess.run(["cc", "-I", header, "-o", program, tmp_path / "sizes.c"], check=True)
    out = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert [int(n) for n in out.split()] == [ctypes.sizeof(kind) for kind in pairs.values()]


def test_more_than_two_to_the_31_elements():
    """The second sample begins beyond 2^31 elements; only the pages that are used exist."""
    step = 2**31 + 64
    store = torch.empty(step + 64, dtype=torch.float16)
    far = store.as_strided((2, 4, 2, 8), (step, 16, 8, 1))
    near = torch.randn(2, 4, 2, 8).half()
    far.copy_(near)
    torch.testing.assert_close(nm.na1d(far, far, far, 3), nm.na1d(near, near, near, 3))


@pytest.mark.parametrize("kernel", [13, pytest.param(63, marks=pytest.mark.slow)])
def test_a_million_tokens_need_no_buffer_of_tokens_times_kernel(kernel):
    """L * K floats are 52 MB for K=13 and 252 MB for K=63. Measured: 36 MB for either, besides
    inputs, outputs and gradients."""
    out = python(
        """
        import resource, torch
        torch.set_num_threads(2)

        def peak():
            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

        def tensor():
            return torch.full((1, 1_000_000, 1, 64), 0.5)

        small = torch.randn(1, 99, 1, 64, requires_grad=True)
        nm.na1d(small, small, small, 13).sum().backward()
        q, k, v = (tensor().requires_grad_() for _ in range(3))
        grad = tensor()
        before = peak()
        out = nm.na1d(q, k, v, int(os.environ["KERNEL"]))
        grads = torch.autograd.grad(out, (q, k, v), grad)
        outputs = 4 * q.numel() * 4 + q.shape[1] * 4
        print((peak() - before - outputs) // 10**6)
        """,
        KERNEL=str(kernel),
    )
    assert int(out) < 52


SUB_INTERPRETER = """
import sys
sys.path.insert(0, {path!r})
from natten_mps import _lib
try:
    _lib.library()
except ImportError as error:
    print(error, flush=True)
"""


def test_sub_interpreters_are_refused():
    code = SUB_INTERPRETER.format(path=os.path.dirname(os.path.dirname(nm.__file__)))
    out = python(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        interpreters.run_string(interpreters.create(), os.environ["CODE"])
        print(nm.get_backend())
        """,
        CODE=code,
    )
    assert "cannot be used in a sub-interpreter" in out
    assert out.endswith(f"{nm.get_backend()}\n")


MARKER = """
    #include <stdio.h>
    __attribute__((constructor)) static void opened(void) { fclose(fopen(MARKED, "w")); }
"""

ASKS_ALL = """
    from natten_mps import _lib
    print([b["name"] for b in _lib.backends()], _lib.path())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the simulated Metal is for Linux")
def test_only_a_library_for_tests_opens_what_the_environment_names(tmp_path):
    (tmp_path / "marker.c").write_text(textwrap.dedent(MARKER))
    marker, marked = tmp_path / "marker.so", tmp_path / "marked"
    compiler = ["cc", "-shared", "-fPIC", f'-DMARKED="{marked}"', "-o", marker]
    subprocess.run([*compiler, tmp_path / "marker.c"], check=True)
    for_tests = subprocess.run(
        [Path(__file__).parents[1] / "metalsim" / "library.sh"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    for library, opens in (("", False), (for_tests, True)):
        python(
            ASKS_ALL,
            NATTEN_MPS_LIBRARY=library,
            NATTEN_MPS_SIMULATOR=str(marker),
        )
        assert marked.exists() == opens, library
