# SPDX-License-Identifier: MIT
"""Sequences of what a program may do, drawn by hypothesis: a result depends on its inputs alone.

NATTEN_TEST_STATES sets the number of sequences (default 12).
"""

import gc
import os
import signal
import threading
import warnings

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from problems import OPS, assert_near, drawn, run, tolerance

from natten_mps import _lib, backend


class Remembered:
    """A problem with inputs, and what each backend made of it when it was first asked."""

    def __init__(self, problem, op, dtype):
        self.problem, self.op, self.dtype = problem, op, dtype
        self.inputs = problem.inputs(op, dtype)
        self.results = {}

    def compute(self, name):
        """Outputs and gradients by a backend, in one dict."""
        outputs, gradients = run(self.problem, self.op, self.inputs, name)
        return outputs | gradients

    def check(self, name):
        """The same bits as before by this backend, and what `pure` says within rounding."""
        got = self.compute(name)
        for key, value in self.results.setdefault(name, got).items():
            assert torch.equal(got[key].nan_to_num(), value.nan_to_num()), (name, key)
        want = self.results.setdefault("pure", None) or self.compute("pure")
        self.results["pure"] = want
        for key, value in got.items():
            direction = "backward" if key.startswith("d_") else "forward"
            # `pure` rounds its sums, too
            bound = 4 * tolerance(self.op, self.dtype, direction)
            assert_near(value, want[key], bound, f"{name} {self.op} {self.dtype} {key}")

    def change(self):
        """Other numbers in the same memory."""
        with torch.no_grad():
            for tensor in self.inputs.values():
                tensor.mul_(-0.5).add_(0.25)
        self.results = {}


class Program(RuleBasedStateMachine):
    """A process that uses the package in every order."""

    problems = Bundle("problems")

    def __init__(self):
        super().__init__()
        self.before = backend.choice, torch.get_num_threads(), torch.get_default_dtype()

    def teardown(self):
        backend.choice = self.before[0]
        torch.set_num_threads(self.before[1])
        torch.set_default_dtype(self.before[2])

    @rule(
        target=problems,
        problem=drawn(largest=4),
        op=st.sampled_from(OPS),
        dtype=st.sampled_from(["float32", "float16", "bfloat16", "float64"]),
        name=st.sampled_from(["native", "pure", "auto"]),
    )
    def first(self, problem, op, dtype, name):
        remembered = Remembered(problem, op, dtype)
        remembered.check(name)
        return remembered

    @rule(what=problems, name=st.sampled_from(["native", "auto", "reference"]))
    def again(self, what, name):
        what.check(name)

    @rule(what=problems, name=st.sampled_from(["native", "auto"]))
    def change(self, what, name):
        what.change()
        what.check(name)

    @rule(target=problems, what=consumes(problems))
    def forget(self, what):
        what.results.clear()
        gc.collect()
        return multiple()

    @rule(count=st.integers(1, 4))
    def threads(self, count):
        torch.set_num_threads(count)

    @rule(dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    def default_dtype(self, dtype):
        torch.set_default_dtype(dtype)

    @rule(whats=st.lists(problems, min_size=2, max_size=4))
    def together(self, whats):
        """Calls from several threads at once. The backend is chosen for all of them."""
        backend.set_backend("native")
        failures = []

        def work(what):
            try:
                what.compute("native")
                what.check("native")
            except BaseException as failure:
                failures.append(failure)

        for what in whats:  # `pure` is chosen here, where no other thread needs the setting
            what.results["pure"] = what.results.get("pure") or what.compute("pure")
        workers = [threading.Thread(target=work, args=[what]) for what in whats]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not failures, failures[0]

    @precondition(lambda self: hasattr(os, "fork"))
    @rule(what=problems)
    def fork(self, what):
        """A child computes with `pure`, since Go's threads do not survive, and exits."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 and later warn of fork() with threads
            child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(60)
                torch.set_num_threads(1)
                warnings.simplefilter("ignore")  # the warning about the fallback
                what.results.pop("auto", None)
                what.check("auto")
                with pytest.raises(
                    (_lib.ForkedError, NotImplementedError), match="does not survive fork"
                ):
                    what.compute("native")
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0


def test_results_depend_on_inputs_alone():
    count = int(os.environ.get("NATTEN_TEST_STATES", "12"))
    _lib.library()  # before any fork
    run_state_machine_as_test(
        Program,
        settings=settings(
            max_examples=count,
            stateful_step_count=20,
            deadline=None,
            database=None,
            derandomize=count == 12,
            suppress_health_check=list(HealthCheck),
        ),
    )
