#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Time exported kernels against their naive twins on an NVIDIA GPU.

    bench.py DIR [--json FILE]

DIR is what `NATTEN_GPU_BENCH=DIR go test ./core/metal -run TestExportBenchmarks` wrote. Each row
is timed as it is and with its batch enlarged until the twin takes 0.5 ms; outputs are compared
with the twin's. Times are medians of CUDA events round all launches. Needs numpy and libcuda.
"""

import argparse
import base64
import ctypes as C
import json
import math
import statistics
import struct
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from replay import BUFFERS, check, cuda, load, start

ENOUGH_MS = 0.5
REPEATS = 20
REGISTERS = 4  # CU_FUNC_ATTRIBUTE_NUM_REGS
# Largest difference from the twin, relative to the larger of 1 and the twin's value.
TOLERANCE = {"float32": 1e-4, "float16": 2e-2}

Entry = dict[str, Any]


class Memory:
    """Device memory by name, kept between the entries of one row."""

    def __init__(self) -> None:
        self.pointers: dict[str, C.c_uint64] = {}

    def get(self, name: str, size: int) -> C.c_uint64:
        """The memory with this name, created and filled with random numbers at first use."""
        if name not in self.pointers:
            pointer = C.c_uint64()
            check(cuda.cuMemAlloc_v2(C.byref(pointer), C.c_size_t(max(size, 16))), "alloc")
            self.pointers[name] = pointer
        return self.pointers[name]

    def fill(self, name: str, size: int, dtype: str, seed: int) -> None:
        """Write normal random numbers."""
        pointer = self.get(name, size)
        chunk = np.random.default_rng(seed).standard_normal(1 << 22).astype(dtype)
        for at in range(0, size, chunk.nbytes):
            n = min(chunk.nbytes, size - at)
            to = C.c_uint64(pointer.value + at)
            check(cuda.cuMemcpyHtoD_v2(to, chunk.ctypes.data_as(C.c_void_p), C.c_size_t(n)), "fill")

    def read(self, name: str, size: int, dtype: str) -> np.ndarray:
        """At most the first 16 MB, as float32."""
        out = np.empty(min(size, 1 << 24) // np.dtype(dtype).itemsize, dtype)
        check(
            cuda.cuMemcpyDtoH_v2(
                out.ctypes.data_as(C.c_void_p), self.pointers[name], C.c_size_t(out.nbytes)
            ),
            "read",
        )
        return out.astype(np.float32)

    def free(self) -> None:
        """Free all memory."""
        for pointer in self.pointers.values():
            cuda.cuMemFree_v2(pointer)
        self.pointers.clear()


class Kernels:
    """Functions by PTX file."""

    def __init__(self, directory: Path, registers: int | None) -> None:
        self.directory, self.limit = directory, registers
        self.functions: dict[str, C.c_void_p] = {}
        self.blocks: dict[str, C.c_uint64] = {}
        self.registers: dict[str, int] = {}

    def get(self, ptx: str) -> C.c_void_p:
        """The only kernel of a file."""
        if ptx not in self.functions:
            function, n = C.c_void_p(), C.c_int()
            cubin = self.directory / f"{ptx.removesuffix('.ptx')}.cubin"
            module = load(cubin if cubin.exists() else self.directory / ptx, self.limit)
            check(cuda.cuModuleGetFunction(C.byref(function), module, b"msl_kernel_0"), ptx)
            check(cuda.cuFuncGetAttribute(C.byref(n), REGISTERS, function), "attribute")
            self.functions[ptx], self.registers[ptx] = function, n.value
            block, size = C.c_uint64(), C.c_size_t()
            check(
                cuda.cuModuleGetGlobal_v2(C.byref(block), C.byref(size), module, b"msl_block"), ptx
            )
            self.blocks[ptx] = block
        return self.functions[ptx]


class Run:
    """An entry's launches, ready to go."""

    def __init__(self, entry: Entry, memory: Memory, kernels: Kernels) -> None:
        self.launches = []
        self.constants: list[C.c_uint64] = []
        for d in entry["dispatches"]:
            pointers = [0] * BUFFERS
            for i, b in enumerate(d["bindings"]):
                pointers[i] = self._bind(b, entry, memory).value
            groups, threads = d["groups"], d["threads"]
            grid = [g * t for g, t in zip(groups, threads, strict=True)]
            words = (*pointers, *[0] * BUFFERS, *grid, *threads, *groups, 0, 0, 0)
            text = struct.pack(f"<{BUFFERS}Q{BUFFERS}I12I", *words) + b"\0" * 4
            argument = C.create_string_buffer(text, len(text))
            arguments = (C.c_void_p * 1)(C.addressof(argument))
            function = kernels.get(d["ptx"])
            block = base64.b64decode(d["bindings"][0]["bytes"])  # each kernel has its own module
            to, n = kernels.blocks[d["ptx"]], C.c_size_t(len(block))
            check(cuda.cuMemcpyHtoD_v2(to, block, n), "parameters")
            self.launches.append((function, groups, threads, arguments, argument))

    def _bind(self, b: dict[str, Any], entry: Entry, memory: Memory) -> C.c_uint64:
        if "tensor" in b:
            return memory.get(b["tensor"], entry["tensors"][b["tensor"]])
        if "scratch" in b:
            size = entry["scratch"][b["scratch"]]
            return memory.get(f"scratch {b['scratch']} {size}", size)
        data = base64.b64decode(b["bytes"])
        pointer = C.c_uint64()
        check(cuda.cuMemAlloc_v2(C.byref(pointer), C.c_size_t(len(data))), "alloc")
        check(cuda.cuMemcpyHtoD_v2(pointer, data, C.c_size_t(len(data))), "upload")
        self.constants.append(pointer)
        return pointer

    def launch(self, only: int | None = None) -> None:
        """Run once all launches, or the one of that number."""
        chosen = self.launches if only is None else self.launches[only : only + 1]
        for function, groups, threads, arguments, _ in chosen:
            check(
                cuda.cuLaunchKernel(function, *groups, *threads, 0, None, arguments, None), "launch"
            )

    def free(self) -> None:
        """Free the constants."""
        for pointer in self.constants:
            cuda.cuMemFree_v2(pointer)


def milliseconds(work: Any, repeats: int = REPEATS) -> float:
    """Median time of work() on the GPU."""
    begin, end = C.c_void_p(), C.c_void_p()
    check(cuda.cuEventCreate(C.byref(begin), 0), "event")
    check(cuda.cuEventCreate(C.byref(end), 0), "event")
    times = []
    for n in range(3 + repeats):
        check(cuda.cuEventRecord(begin, None), "record")
        work()
        check(cuda.cuEventRecord(end, None), "record")
        check(cuda.cuEventSynchronize(end), "run")
        ms = C.c_float()
        check(cuda.cuEventElapsedTime(C.byref(ms), begin, end), "elapsed")
        if n >= 3:
            times.append(ms.value)
    return statistics.median(times)


def copy_bandwidth() -> float:
    """GB/s, read and written, of copying 1 GiB on the GPU."""
    memory, size = Memory(), 1 << 30
    a, b = memory.get("a", size), memory.get("b", size)
    ms = milliseconds(
        lambda: check(cuda.cuMemcpyDtoDAsync_v2(b, a, C.c_size_t(size), None), "copy")
    )
    memory.free()
    return 2 * size / ms / 1e6


def outputs(entry: Entry) -> list[str]:
    """Names of the tensors that are compared."""
    if entry["op"] == "attn_forward":
        return ["out", "lse"]
    return ["d_query", "d_key", "d_value"]


def measure(entries: list[Entry], forward: Entry, kernels: Kernels) -> list[dict[str, Any]]:
    """Times of all designs of one row, operation, element type and batch; the twin is first."""
    memory, results = Memory(), []
    dtype = forward["dtype"]
    for seed, name in enumerate(("query", "key", "value", "d_out")):
        size = entries[0]["tensors"].get(name)
        if size is not None:
            memory.fill(name, size, dtype, seed)
    if entries[0]["op"] != "attn_forward":
        first = Run(forward, memory, kernels)
        first.launch()
        check(cuda.cuCtxSynchronize(), "run")
        first.free()
    want: dict[str, np.ndarray] = {}
    for entry in entries:
        run = Run(entry, memory, kernels)
        ms = milliseconds(run.launch)
        parts = [milliseconds(partial(run.launch, n)) for n in range(len(run.launches))]
        worst = 0.0
        for name in outputs(entry):
            kind = "float32" if name == "lse" else dtype
            got = memory.read(name, entry["tensors"][name], kind)
            if entry["design"] == "twin":
                want[name] = got
            off = np.abs(got - want[name]) / np.maximum(1, np.abs(want[name]))
            worst = max(worst, float(np.max(off)))
        run.free()
        results.append(
            {
                **{k: entry[k] for k in ("row", "multiplier", "op", "dtype", "design", "minimum")},
                "ms": ms,
                "parts_ms": parts,
                "error": worst,
                "registers": [kernels.registers[d["ptx"]] for d in entry["dispatches"]],
                "kernels": [d["ptx"] for d in entry["dispatches"]],
            }
        )
    memory.free()
    return results


def geometric_mean(x: list[float]) -> float:
    """Zero for none."""
    return math.exp(sum(map(math.log, x)) / len(x)) if x else 0.0


def report(results: list[dict[str, Any]], bandwidth: float) -> bool:
    """Print tables; whether all outputs agree."""
    twins = {
        (r["row"], r["multiplier"], r["op"], r["dtype"]): r
        for r in results
        if r["design"] == "twin"
    }
    gains = defaultdict(list)
    right = True
    for r in results:
        twin = twins[r["row"], r["multiplier"], r["op"], r["dtype"]]
        gain, rate = twin["ms"] / r["ms"], r["minimum"] / r["ms"] / 1e6
        agrees = r["error"] <= TOLERANCE[r["dtype"]]
        right = right and agrees
        large = twin["ms"] >= ENOUGH_MS
        if large and r["design"] != "twin":
            rows = "32 channels" if r["row"].endswith("-d32") else "rows as published"
            for group in ("all", rows):
                gains[r["op"], r["dtype"], r["design"], group].append(gain)
        print(
            f"{r['row']:24} x{r['multiplier']:<4} {r['op']:13} {r['dtype']:8} {r['design']:10} "
            f"{r['ms']:9.4f} ms {gain:7.2f} x twin {rate:7.0f} GB/s "
            f"{100 * rate / bandwidth:4.0f} % of a copy, registers {r['registers']}, "
            f"error {r['error']:.1e}{'' if agrees else ' WRONG'}"
        )
    print("\nGain over the twin where that takes 0.5 ms or more: geometric mean, least")
    for key, values in sorted(gains.items()):
        print(f"{' '.join(key):60} {geometric_mean(values):7.2f} {min(values):7.2f}")
    return right


def main() -> None:
    """Measure everything; exit status 1 if an output is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--registers", type=int, help="of a thread, at most")
    options = parser.parse_args()
    gpu, bandwidth = start(), copy_bandwidth()
    print(f"GPU: {gpu}, copies at {bandwidth:.0f} GB/s")
    groups: dict[tuple[str, str, str, int], list[Entry]] = defaultdict(list)
    for entry in json.loads((options.dir / "bench.json").read_text()):
        groups[entry["row"], entry["op"], entry["dtype"], entry["multiplier"]].append(entry)
    kernels, results = Kernels(options.dir, options.registers), []
    enough: set[tuple[str, str, str]] = set()
    for (row, op, dtype, multiplier), entries in groups.items():
        if (row, op, dtype) in enough:
            continue
        forward = groups[row, "attn_forward", dtype, multiplier][0]
        twin = measure(entries[:1], forward, kernels)[0]
        if twin["ms"] < ENOUGH_MS and multiplier > 1:
            continue
        found = measure(entries, forward, kernels)
        if found[0]["ms"] >= ENOUGH_MS:  # the twin again
            enough.add((row, op, dtype))
        if (row, op, dtype) in enough or multiplier == 1:
            results += found
    right = report(results, bandwidth)
    if options.json is not None:
        figures = {"gpu": gpu, "copy_gb_s": bandwidth, "results": results}
        options.json.write_text(json.dumps(figures, indent=1))
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
