# SPDX-License-Identifier: MIT
"""Several processes of torch.distributed, started once and used for many calls."""

import importlib
import multiprocessing
import tempfile
import traceback
from datetime import timedelta

#: Seconds after which a collective, or an answer, that is missing is an error.
PATIENCE = 60


class Processes:
    """A group of processes with gloo. Functions are named, `module:function`, and called with the
    rank, in all processes or in the first ones."""

    def __init__(self, size, patience=PATIENCE):
        self.size, self.patience = size, patience
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torch.distributed.tensor", "natten_mps.modules"])
        self._folder = tempfile.TemporaryDirectory(prefix="natten-processes-")
        store = f"{self._folder.name}/store"
        self._pipes, self._processes = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(rank, size, store, theirs, patience), daemon=True
            )
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        self.run("builtins:abs")

    def run(self, function, *arguments, size=None, ends=(), slack=60):
        """What `function(rank, *arguments)` gives, by rank; an error of one is raised. Processes
        whose ranks are in `ends` are expected to exit instead. `slack`: seconds of work besides
        collectives after which a process counts as stuck."""
        pipes = self._pipes[: size or self.size]
        for pipe in pipes:
            pipe.send((function, arguments))
        answers = []
        for rank, pipe in enumerate(pipes):
            if not pipe.poll(self.patience + slack):
                self.stop()
                raise TimeoutError(f"process {rank} does not answer")
            try:
                answers.append(pipe.recv())
            except EOFError:
                answers.append((rank in ends, None if rank in ends else "It exited."))
        failed = [(rank, text) for rank, (good, text) in enumerate(answers) if not good]
        if failed:
            rank, text = failed[0]
            raise AssertionError(f"{len(failed)} processes failed, the first is {rank}:\n{text}")
        return [answer for _, answer in answers]

    def stop(self):
        for process in self._processes:
            process.kill()
            process.join(10)
        self._folder.cleanup()


def _serve(rank, size, store, pipe, patience):
    import torch
    from torch import distributed as dist

    import natten_mps

    torch.set_num_threads(1)
    natten_mps.set_backend("auto")  # float64, which the simulated GPU lacks, goes to the CPU
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=patience),
    )
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            return
        try:
            module, function = name.split(":")
            answer = True, getattr(importlib.import_module(module), function)(rank, *arguments)
        except Exception:
            answer = False, traceback.format_exc()
        pipe.send(answer)
