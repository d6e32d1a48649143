# SPDX-License-Identifier: MIT
"""Tests in a child process whether Go's runtime can start in this process.

A Go runtime that cannot start kills the process. It needs address space and threads, and it reads
environment variables. If any of these is unusual, a forked child, which inherits them all, loads
the library first. Otherwise the check costs a few system calls.
"""

import ctypes
import math
import mmap
import os
import resource
import select
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

#: Environment variables that can keep Go's runtime from starting.
VARIABLES = ("GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT")
#: A limit below this is unusual.
FEW_THREADS = 4096
#: What a run may need after startup: bytes of address space, and threads beyond one per processor.
ROOM, SPARE_THREADS = 256 << 20, 4
#: Limit on the child's address space, in bytes.
MOST = (3 << 30) + (os.cpu_count() or 1) * (32 << 20)
#: Timeout of the child in seconds.
PATIENCE = 30.0


def why_not(library: Path) -> str | None:
    """Why Go's runtime does not start here; None if it does or if nothing is unusual."""
    unusual = _unusual()
    if not unusual or not hasattr(os, "fork"):
        return None
    try:
        said = _try(library)
    except OSError as error:
        said = f"no process can be started to try it: {error}"
    return said and f"{', '.join(unusual)}: {said}"


def _unusual() -> list[str]:
    found = [f"{name}={os.environ[name]}" for name in VARIABLES if os.environ.get(name)]
    if sys.platform == "linux":  # macOS has RLIMIT_AS and does not enforce it
        space = resource.getrlimit(resource.RLIMIT_AS)[0]
        if space != resource.RLIM_INFINITY:
            found.append(f"{space >> 20} MiB of address space")
        threads = min(_user_threads(), group_threads())
        if threads < FEW_THREADS:
            found.append(f"{threads:.0f} threads")
    return found


def _user_threads() -> float:
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


def group_threads(
    listed: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")
) -> float:
    """The lowest thread limit of this process's control groups (cgroup version 1 or 2)."""
    least = math.inf
    try:
        groups = listed.read_text().splitlines()
    except OSError:
        return least
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "pids" not in controllers.split(","):
            continue
        root = mounted / ("pids" if controllers else "")
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group != root and root not in group.parents:
                break
            try:
                least = min(least, float((group / "pids.max").read_text()))
            except (OSError, ValueError):  # missing, or "max"
                continue
    return least


def _try(library: Path) -> str | None:
    heard, speaks = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork() in a process with threads
        child = os.fork()
    if child == 0:
        _play(library, speaks)
    os.close(speaks)
    text = _listen(heard, child)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return None
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal error", "runtime:"))]
    return next(iter(fatal + lines), f"a trial ended with wait status {status}")


def _listen(heard: int, child: int) -> bytes:
    """Read the child's output until it exits; kill it after the timeout."""
    text, until = b"", time.monotonic() + PATIENCE
    with open(heard, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            part = pipe.read(4096)
            if not part:
                return text
            text += part
    os.kill(child, signal.SIGKILL)
    return text


def _bound() -> None:
    """Limit memory: a runtime that is configured to start a million threads would use it all."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return
    most, hard = pages * mmap.PAGESIZE + MOST, resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft == resource.RLIM_INFINITY or soft > most:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _play(library: Path, speaks: int) -> None:
    """In the child: load the library and allocate what a run may need; never returns."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        _bound()
        os.dup2(speaks, 1)
        os.dup2(speaks, 2)
        ctypes.CDLL(str(library)).natten_mps_abi_version()  # returns when the runtime has started
        mmap.mmap(-1, ROOM).close()
        done = threading.Event()
        for _ in range((os.cpu_count() or 1) + SPARE_THREADS):
            threading.Thread(target=done.wait, daemon=True).start()
        status = 0
    except BaseException as error:  # no exception may propagate into the parent's program
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)
