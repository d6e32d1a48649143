# SPDX-License-Identifier: MIT
"""Finds, loads and checks the compiled library once, on first use. Does not import torch."""

import ctypes
import os
import sys
import threading
from pathlib import Path

from . import _abi, _rehearsal
from ._log import logger
from .version import __version__

#: Path of a library to use instead of the packaged one.
OVERRIDE = "NATTEN_MPS_LIBRARY"


class LibraryError(ImportError):
    """The compiled library is missing or does not match this package."""


class ForkedError(RuntimeError):
    """The library was loaded before this process was forked and cannot be used in it."""


def fork_safe_lock() -> threading.Lock:
    """A module-level lock that is unlocked in a forked child, where its owner no longer exists."""
    lock = threading.Lock()
    os.register_at_fork(after_in_child=lock._at_fork_reinit)  # type: ignore[attr-defined]
    return lock


_lock = fork_safe_lock()
_library: ctypes.CDLL | None = None
_failure: LibraryError | None = None

#: Whether this process inherited a started Go runtime through fork(), without its threads.
forked = False


def path() -> Path:
    """Where the library is expected to be."""
    override = os.environ.get(OVERRIDE)
    if override:
        return Path(override)
    suffix = "dylib" if sys.platform == "darwin" else "so"
    return Path(__file__).parent / "lib" / f"libnatten_mps.{suffix}"


def library() -> ctypes.CDLL:
    """The loaded library.

    Raises LibraryError (an ImportError) if it is missing or does not match this package, and
    ForkedError if the process that loaded it has since forked into this one.
    """
    if forked:
        raise ForkedError(
            "the natten_mps library was loaded before this process was forked, and the Go runtime"
            " does not survive fork(); start workers with the 'spawn' or 'forkserver' method, or"
            " use set_backend('pure') in them"
        )
    if _library is not None:
        return _library
    with _lock:
        if _library is None:
            _load()
    assert _library is not None
    return _library


def _in_main_interpreter() -> bool:
    api = ctypes.pythonapi
    api.PyInterpreterState_Get.restype = api.PyInterpreterState_Main.restype = ctypes.c_void_p
    return bool(api.PyInterpreterState_Get() == api.PyInterpreterState_Main())


def _load() -> None:
    global _library, _failure
    if not _in_main_interpreter():
        raise LibraryError(
            "the natten_mps library cannot be used in a sub-interpreter, because it has one state"
            " for the whole process; use threads or processes"
        )
    if _failure is not None:
        raise _failure
    try:
        _library = _open(path())
    except LibraryError as error:
        _failure = error
        raise
    logger.debug("loaded %s", path())


def _open(where: Path) -> ctypes.CDLL:
    hint = f"set {OVERRIDE} to another library, or use NATTEN_BACKEND=pure to do without"
    if not where.is_file():
        raise LibraryError(
            f"natten_mps {__version__}: no library at {where} (build it with ./build.sh build or"
            f" reinstall the package; {hint})",
            path=str(where),
        )
    against = _rehearsal.why_not(where)
    if against is not None:
        raise LibraryError(
            f"natten_mps {__version__}: {against}: Go's runtime, which {where} contains, does not"
            f" start under these limits and would end this process ({hint})",
            path=str(where),
        )
    try:
        loaded = ctypes.CDLL(str(where))
        _abi.declare(loaded)
    except (OSError, AttributeError) as error:
        raise LibraryError(
            f"natten_mps {__version__}: cannot load {where}: {error} ({hint})", path=str(where)
        ) from error
    _check_versions(loaded, where, hint)
    return loaded


def _check_versions(loaded: ctypes.CDLL, where: Path, hint: str) -> None:
    version = loaded.natten_mps_version().decode()
    newest, oldest = loaded.natten_mps_abi_version(), loaded.natten_mps_abi_minimum()
    if version == __version__ and oldest <= _abi.ABI_VERSION <= newest:
        return
    raise LibraryError(
        f"the library at {where} is version {version}, ABI {oldest} to {newest}, but this"
        f" natten_mps is version {__version__}, ABI {_abi.ABI_VERSION}: reinstall the package so"
        f" that they match ({hint})",
        path=str(where),
    )


def _after_fork_in_child() -> None:
    global forked
    forked = forked or _library is not None


os.register_at_fork(after_in_child=_after_fork_in_child)


_ERRORS = {
    _abi.INVALID_ARGUMENT: ValueError,
    _abi.UNSUPPORTED: NotImplementedError,
    _abi.OUT_OF_MEMORY: MemoryError,
}


def raise_for(error: _abi.Error) -> None:
    """Raise the exception that an error struct describes."""
    text = error.message.decode("utf-8", "replace")
    raise _ERRORS.get(error.status, RuntimeError)(text)


def check(status: int, error: _abi.Error) -> None:
    """Raise unless the status is OK."""
    if status != _abi.OK:
        raise_for(error)


def backends() -> list[dict[str, object]]:
    """Name, availability and details of each backend of the library, in order of preference."""
    found: list[dict[str, object]] = []
    info, error = _abi.new(_abi.BackendInfo), _abi.new(_abi.Error)
    while library().natten_mps_backend(len(found), info, error) == _abi.OK:
        found.append(
            {
                "name": info.name.decode(),
                "available": bool(info.available),
                "details": info.details.decode("utf-8", "replace"),
            }
        )
    return found
