# SPDX-License-Identifier: MIT
"""Long runs of the library, during which Python's signal handlers run and can end them.

Python runs signal handlers only on its main thread and only between bytecodes, of which there are
none while the library computes. So the library calls back about ten times a second.
"""

import ctypes
import struct
import threading
from collections.abc import Generator

from . import _abi
from ._mps.device import Run

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
#: The last two fields of natten_mps_args.
_FIELDS = struct.Struct("=QQ")


def interruptible(run: Run) -> Run:
    """Make natten_mps_run, called with packed args, return early with an exception of a signal
    handler, such as KeyboardInterrupt."""

    def watched(handle: int, args: bytes, error: int) -> int:
        if threading.get_ident() != threading.main_thread().ident:
            return run(handle, args, error)
        caught: list[BaseException] = []
        handlers = _handlers(caught)
        next(handlers)
        callback = _CALLBACK(handlers.send)
        address = ctypes.cast(callback, ctypes.c_void_p).value or 0
        status = run(handle, args[: -_FIELDS.size] + _FIELDS.pack(address, 0), error)
        if caught:
            raise caught.pop()
        return status

    return watched


def _handlers(caught: list[BaseException]) -> Generator[int, object, None]:
    """Yield whether a handler raised an exception. Resuming a generator inside `try` is the only
    way into Python that runs the handlers inside it: on entry to a function they run before."""
    try:
        while True:
            yield 0
    except GeneratorExit:  # nobody asks any longer
        return
    except BaseException as error:
        caught.append(error)
    yield 1


assert _abi.Args.interrupt.offset == ctypes.sizeof(_abi.Args) - _FIELDS.size
