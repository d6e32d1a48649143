# SPDX-License-Identifier: MIT
"""Runs pytest again and again in children of one process, which has imported what takes long.

Reads lines of JSON, a list of pytest's arguments each, and answers each with a line: exit status
and output. The package under test is imported by the children only, from below the folder given.
"""

import importlib
import json
import os
import signal
import sys
import tempfile

LIMIT = 300


def child(arguments: list[str], output: int) -> None:
    """Be pytest, and never return."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.alarm(LIMIT)
    status = 70
    try:
        import pytest

        status = int(pytest.main(arguments))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Answer until the input ends."""
    os.chdir(sys.argv[1])
    sys.path.insert(0, os.path.abspath("python"))
    sys.dont_write_bytecode = True
    for name in ("pytest", "hypothesis", "numpy", "torch", "torch._dynamo", "torch._inductor"):
        importlib.import_module(name)
    importlib.import_module("torch").set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        with tempfile.TemporaryFile() as output:
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                child(json.loads(line), output.fileno())
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        answers.write(json.dumps({"status": status, "output": text}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
