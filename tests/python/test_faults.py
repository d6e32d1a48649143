# SPDX-License-Identifier: MIT
"""A process that interrupts, ends or starves while the library computes. The same from C:
tests/faults."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

PRELUDE = """
    import gc, os, resource, signal, sys, threading, time
    import torch, natten_mps as nm
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    torch.set_num_threads(2)
    q = torch.randn(1, 96, 96, 4, 32)
    want = nm.na2d(q, q, q, 7)
    def check():
        assert torch.equal(nm.na2d(q, q, q, 7), want)
"""


def start(code):
    """A separate process with two threads and a result to compare with."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PRELUDE) + textwrap.dedent(code)],
        env={**os.environ, "NATTEN_BACKEND": "native", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process):
    """Return what the process printed; one that does not end is killed."""
    try:
        return process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def finished(code):
    """What the process prints; it must exit by itself and without an error."""
    process = start(code)
    out, error = output(process)
    assert process.returncode == 0, error[-3000:]
    assert "Fatal" not in error, error[-3000:]
    return out.split()


def test_an_interrupt_raises_and_the_library_stays_usable():
    process = start("""
        print("begun", flush=True)
        try:
            while True:
                nm.na2d(q, q, q, 7)
        except KeyboardInterrupt:
            check()
            print("interrupted", flush=True)
    """)
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, error = output(process)
    assert process.returncode == 0, error[-3000:]
    assert out == "interrupted\n"


#: Runs of minutes: none of these tests would end before its time is up if nothing ended them.
ENDLESS = """
        torch.set_num_threads({threads})
        x = torch.randn(1, 1 << 18, 1, 128, dtype=torch.float64)
        leaf = torch.randn(1, 1 << 18, 1, 128, requires_grad=True)
        runs = [
            lambda: nm.na1d(x, x, x, 1 << 18),
            lambda: nm.na1d(leaf, leaf, leaf, 1 << 18).sum().backward(),
            lambda: nm.na1d(x, x, x, 1 << 18),
        ]
        backends = ["native", "native", "reference"]
        def run(which):
            print("begun", flush=True)
            nm.set_backend(backends[which])
            runs[which]()
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_ends_one_long_run(threads):
    process = start(
        ENDLESS.format(threads=threads)
        + """
        for which in range(len(runs)):
            try:
                run(which)
                print("ended")
            except KeyboardInterrupt:
                nm.set_backend("native")
                check()
                print("interrupted", flush=True)
    """
    )
    for _ in range(3):
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
    _, error = output(process)
    assert process.returncode == 0, error[-3000:]
    assert error == ""


def test_handlers_run_during_one_long_run():
    """They may use the library, and what they raise ends the run."""
    out = finished(
        ENDLESS.format(threads=1)
        + """
        fired = 0
        def handler(*_):
            global fired
            fired += 1
            check()
            if fired == 3:
                raise TimeoutError("enough")
            signal.alarm(1)
        signal.signal(signal.SIGALRM, handler)
        signal.alarm(1)
        try:
            run(0)
        except TimeoutError as error:
            print(error, fired)
        check()
    """
    )
    assert out == ["begun", "enough", "3"]


def test_threads_other_than_the_main_one_are_not_interrupted():
    out = finished("""
        large = torch.ones(1, 200, 200, 2, 16)
        results = []
        def compute():
            for _ in range(20):
                results.append(torch.allclose(nm.na2d(large, large, large, 13), large))
        thread = threading.Thread(target=compute)
        thread.start()
        try:
            os.kill(os.getpid(), signal.SIGINT)
            thread.join()
        except KeyboardInterrupt:
            thread.join()
            print(all(results), len(results))
    """)
    assert out == ["True", "20"]


@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)", "pass"])
def test_leaving_while_threads_compute(leave):
    """Daemon threads are in the library when the interpreter ends. They call it without torch,
    whose own operations end such a process: threads unwind through its noexcept functions."""
    code = f"""
        import ctypes
        from natten_mps import _lib
        attention = ctypes.CDLL(str(_lib.path())).natten_mps_attention
        attention.argtypes = [ctypes.c_int32] * 2 + [ctypes.c_void_p] * 7
        shape, kernel = (ctypes.c_int64 * 5)(*q.shape), (ctypes.c_int64 * 2)(7, 7)
        def forever():
            out = torch.empty_like(q)
            where = [q.data_ptr()] * 3 + [out.data_ptr(), None]
            addresses = ctypes.addressof(shape), ctypes.addressof(kernel)
            while True:
                assert attention(1, 2, *addresses, *where) == 0
        for _ in range(3):
            threading.Thread(target=forever, daemon=True).start()
        time.sleep(0.3)
        print("leaving", flush=True)
        {leave}
    """
    for _ in range(2):
        assert finished(code) == ["leaving"]


def test_a_process_that_is_forked_and_executed_while_threads_compute():
    out = finished("""
        import subprocess
        stop = threading.Event()
        def compute():
            while not stop.is_set():
                check()
        threads = [threading.Thread(target=compute) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            subprocess.run([sys.executable, "-c", "pass"], check=True)
        stop.set()
        for thread in threads:
            thread.join()
        print("done")
    """)
    assert out == ["done"]


def test_a_storm_of_signals():
    """Python's handlers run between runs, and results are the same as without signals."""
    out = finished("""
        fired = 0
        def count(*_):
            global fired
            fired += 1
        signal.signal(signal.SIGALRM, count)
        signal.signal(signal.SIGPROF, count)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
        for _ in range(100):
            check()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(fired > 10)
    """)
    assert out == ["True"]


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is not enforced")
def test_memory_that_is_refused_is_a_memory_error():
    out = finished("""
        k = torch.randn(1, 4096, 1, 64)
        small, large = resource.getrlimit(resource.RLIMIT_AS)
        used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        out = torch.empty(1 << 20)  # later tensors reuse this memory
        del out
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), large))
        for _ in range(10):
            try:
                nm.na1d(k, k, k, 2049)
            except MemoryError as error:
                assert "(want" in str(error)
                print("refused")
        resource.setrlimit(resource.RLIMIT_AS, (large, large))
        assert nm.na1d(k, k, k, 2049).isfinite().all()
        check()
        print("computed")
    """)
    assert out == 10 * ["refused"] + ["computed"]


@pytest.mark.slow
def test_ten_thousand_problems_come_and_go():
    """Plans are kept for a while and then destroyed; the process does not grow with them."""
    out = finished("""
        x = torch.randn(1, 40, 1, 8)
        def problems(count):
            for i in range(count):
                nm.na1d(x, x, x, 3, scale=1 + i / 100_000)
            gc.collect()
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        before = problems(5000)
        print((problems(5000) - before) / 1024 < 32)
        check()
    """)
    assert out == ["True"]
