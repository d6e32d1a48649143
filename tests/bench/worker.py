# SPDX-License-Identifier: MIT
"""Times calls on behalf of run.py: one JSON request a line in, one JSON answer a line out.

A worker is a process of its own because a backend's kernels, its thread count
and the version of natten_mps are chosen when a process starts. It needs nothing
but torch and some natten_mps, this one or natten-mps 0.3.
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

Tensors = tuple[torch.Tensor, ...]


def make_tensors(case: dict[str, Any]) -> Tensors:
    """Return q, k, v of [batch, *size, heads, dim]; every worker draws the same numbers."""
    torch.manual_seed(0)
    shape = (case["batch"], *case["size"])
    heads, kv_heads, dtype = (
        case["heads"],
        case["kv_heads"] or case["heads"],
        getattr(torch, case["dtype"]),
    )
    counts = (heads, kv_heads, kv_heads)
    return tuple(torch.randn(*shape, n, case["dim"]).to(dtype) for n in counts)


def natten_call(case: dict[str, Any]) -> Callable[..., torch.Tensor]:
    """Return the case as a function of q, k, v."""
    import natten_mps

    function = getattr(natten_mps, f"na{len(case['size'])}d")
    return lambda q, k, v: function(q, k, v, case["kernel_size"], **case["options"])


def flex_call(case: dict[str, Any]) -> Callable[..., torch.Tensor]:
    """Return the case through torch's compiled flex_attention and a block mask."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    size, kernel, options = case["size"], case["kernel_size"], case["options"]
    if set(options) - {"is_causal"} or case["kv_heads"]:
        raise NotImplementedError("flex_attention is timed on plain and causal windows only")

    def sees(b: Any, h: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        visible = torch.ones((), dtype=torch.bool)
        for length in reversed(size):
            q, k = query % length, key % length
            query, key = query // length, key // length
            if options.get("is_causal"):
                visible = visible & (k <= q) & (k > q - kernel)
            else:
                start = (q - kernel // 2).clamp(0, length - kernel)
                visible = visible & (k >= start) & (k < start + kernel)
        return visible

    tokens = 1
    for length in size:
        tokens *= length
    mask = create_block_mask(sees, None, None, tokens, tokens, device="cpu")
    compiled = torch.compile(flex_attention)

    def call(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        flat = [x.flatten(1, -3).transpose(1, 2) for x in (q, k, v)]
        return compiled(*flat, block_mask=mask).transpose(1, 2).reshape(q.shape)

    return call


def sdpa_call(case: dict[str, Any]) -> Callable[..., torch.Tensor]:
    """Return torch's attention over the whole input, whatever the window."""
    attention = torch.nn.functional.scaled_dot_product_attention

    def call(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        flat = [x.flatten(1, -3).transpose(1, 2) for x in (q, k, v)]
        return attention(*flat).transpose(1, 2).reshape(q.shape)

    return call


CALLS = {"flex": flex_call, "sdpa": sdpa_call}


def forward(call: Callable[..., torch.Tensor], tensors: Tensors) -> Tensors:
    with torch.no_grad():
        return (call(*tensors),)


class ForwardBackward:
    """A forward and a backward pass; the gradient of the output is made once, outside what is
    timed, because torch's threads take milliseconds to fill it on busy cores."""

    def __init__(self) -> None:
        self.d_out = torch.empty(0)

    def __call__(self, call: Callable[..., torch.Tensor], tensors: Tensors) -> Tensors:
        leaves = tuple(x.requires_grad_() for x in tensors)
        out = call(*leaves)
        if self.d_out.shape != out.shape or self.d_out.dtype != out.dtype:
            self.d_out = torch.ones_like(out)
        return (out, *torch.autograd.grad(out, leaves, self.d_out))


def peak_memory_mib(reset: bool = False) -> float:
    """Return the process's peak resident memory since the last reset (Linux; elsewhere 0)."""
    try:
        if reset:
            ctypes.CDLL(None).malloc_trim(0)  # glibc: returns memory that earlier calls freed
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        with open("/proc/self/status") as file:
            line = next(row for row in file if row.startswith("VmHWM"))
    except (OSError, AttributeError):
        return 0.0
    return int(line.split()[1]) / 1024


def sample(tensors: Tensors) -> list[float]:
    """Return 64 values of each result, for comparison between workers."""
    values = []
    for tensor in tensors:
        flat = tensor.detach().float().flatten()
        values += flat[:: max(1, flat.numel() // 64)][:64].tolist()
    return values


class Worker:
    """Keeps the tensors and the compiled call of the case in hand between requests."""

    def __init__(self, make_call: Callable[[dict[str, Any]], Callable[..., torch.Tensor]]) -> None:
        self.make_call = make_call
        self.prepared: tuple[Any, ...] | None = None
        self.forward_backward = ForwardBackward()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        case, step = request["case"], self.forward_backward if request["backward"] else forward
        if self.prepared is None or self.prepared[0] != (case, request["backward"]):
            tensors, call = make_tensors(case), self.make_call(case)
            before = peak_memory_mib(reset=True)
            results = step(call, tensors)
            extra = peak_memory_mib() - before
            key = (case, request["backward"])
            self.prepared = (key, tensors, call, sample(results), extra)
        _, tensors, call, values, extra = self.prepared
        seconds, processor = [], []
        for _ in range(request["calls"]):
            used, started = time.process_time(), time.perf_counter()
            step(call, tensors)
            seconds.append(time.perf_counter() - started)
            processor.append(time.process_time() - used)
        return {"seconds": seconds, "processor": processor, "sample": values, "peak_mib": extra}


def main() -> None:
    """Answer requests until the input ends."""
    worker = Worker(CALLS[sys.argv[1]] if sys.argv[1:] else natten_call)
    about = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    with suppress(ImportError):
        import natten_mps

        about["natten_mps"] = natten_mps.__version__
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except (RuntimeError, NotImplementedError, ValueError, ImportError) as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
