# SPDX-License-Identifier: MIT
"""The 0.21 shim against NATTEN 0.21.7 itself, which runs in a process of its own.

The environment is a folder with an installation of `natten` and nothing else, named by
NATTEN_UPSTREAM, or build/upstream/natten-0.21.7; `./build.sh upstream` makes it.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from natten_mps.compat import v021

ROOT = Path(__file__).parent.parent.parent
UPSTREAM = Path(os.environ.get("NATTEN_UPSTREAM", ROOT / "build/upstream/natten-0.21.7"))
PROBLEMS, ATTENTIONS = 780, 220

# Largest difference relative to the largest value: upstream computes in the tensors' type and
# rounds the weights to it, whereas this package accumulates in float32.
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}

# Upstream raises NotImplementedError or RuntimeError for lack of a kernel; here it works.
NO_KERNEL = ("could not find a suitable backend", "was not built with libnatten")


def require_upstream():
    if not (UPSTREAM / "natten").is_dir():
        reason = f"no upstream NATTEN in {UPSTREAM}; ./build.sh upstream installs it"
        if "upstream" in os.environ.get("NATTEN_TEST_REQUIRE", "").split(","):
            pytest.fail(reason)
        pytest.skip(reason)


def _ask(problems, folder):
    require_upstream()
    torch.save(problems, folder / "problems.pt")
    script = Path(__file__).with_name("upstream_oracle.py")
    command = [sys.executable, script, folder / "problems.pt", folder / "results.pt"]
    environment = {**os.environ, "PYTHONPATH": str(UPSTREAM)}
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return torch.load(folder / "results.pt", weights_only=True)


def _answer(problem):
    try:
        with torch.no_grad():
            function = getattr(v021, problem["function"])
            result = function(*problem["tensors"], **problem["arguments"])
    except Exception as error:
        return [type(error).__name__, str(error)]
    return list(result) if isinstance(result, tuple) else [result]


def _draw(rng, generator):
    """A problem that upstream can compute on a CPU: one head dim, a power of two from 8."""
    rank = rng.choice((1, 2, 2, 3))
    dtype = rng.choice((torch.float32, torch.float32, torch.float16, torch.bfloat16))
    lengths = [rng.randint(2, {1: 20, 2: 8, 3: 4}[rank]) for _ in range(rank)]
    kernel = tuple(rng.randint(2, n) for n in lengths)
    dilation = tuple(rng.randint(1, n // k) for n, k in zip(lengths, kernel, strict=True))
    kv_heads = rng.choice((1, 2))
    heads = kv_heads * rng.choice((1, 1, 2, 3))
    batch, dim = rng.choice((1, 2)), rng.choice((8, 16))

    def tensor(tokens, count):
        return torch.randn(batch, *tokens, count, dim, generator=generator).to(dtype)

    arguments = {
        "kernel_size": kernel,
        "dilation": dilation,
        "stride": tuple(rng.randint(1, k) for k in kernel),
        "is_causal": tuple(rng.random() < 0.3 for _ in kernel),
        "scale": rng.choice((None, 0.0, 0.4)),
        "return_lse": True,
    }
    if rng.random() < 0.3:
        extra = rng.randint(1, 6)
        arguments["additional_keys"] = tensor((extra,), kv_heads)
        arguments["additional_values"] = tensor((extra,), kv_heads)
    tensors = (tensor(lengths, heads), tensor(lengths, kv_heads), tensor(lengths, kv_heads))
    return {"function": f"na{rank}d", "tensors": tensors, "arguments": arguments}


def _draw_attention(rng, generator):
    lengths = rng.randint(1, 30), rng.randint(1, 30)
    kv_heads = rng.choice((1, 2))
    heads = kv_heads * rng.choice((1, 2))
    query = torch.randn(2, lengths[0], heads, 16, generator=generator)
    key, value = torch.randn(2, 2, lengths[1], kv_heads, 16, generator=generator)
    arguments = {"scale": rng.choice((None, 0.3)), "return_lse": True}
    return {"function": "attention", "tensors": (query, key, value), "arguments": arguments}


def _facts(problem):
    shapes = [tuple(t.shape) for t in problem["tensors"]]
    shown = {
        name: tuple(v.shape) if isinstance(v, torch.Tensor) else v
        for name, v in problem["arguments"].items()
    }
    return f"{problem['function']} {shapes} {problem['tensors'][0].dtype} {shown}"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_random_problems(tmp_path):
    rng, generator = random.Random(2107), torch.Generator().manual_seed(2107)
    problems = [_draw(rng, generator) for _ in range(PROBLEMS)]
    problems += [_draw_attention(rng, generator) for _ in range(ATTENTIONS)]
    compared = 0
    for problem, wanted in zip(problems, _ask(problems, tmp_path), strict=True):
        got = _answer(problem)
        if isinstance(wanted[0], str):
            assert any(text in wanted[1] for text in NO_KERNEL), (wanted, _facts(problem))
            assert isinstance(got[0], torch.Tensor), (got, _facts(problem))
            continue
        compared += 1
        tolerance = TOLERANCE[problem["tensors"][0].dtype]
        for mine, theirs in zip(got, wanted, strict=True):
            assert mine.shape == theirs.shape, _facts(problem)
            assert mine.dtype == theirs.dtype, _facts(problem)
            largest = theirs.double().abs().max().item()
            difference = (mine.double() - theirs.double()).abs().max().item()
            assert difference <= tolerance * max(largest, 1), (difference, _facts(problem))
    assert compared >= 900


def _token(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


Q = _token(1, 8, 2, 8)
Q2 = _token(1, 6, 6, 2, 8)
INTS = torch.tensor([3, 5], dtype=torch.int32)
CUMULATIVE = torch.tensor([0, 3, 8], dtype=torch.int32)
PACKED = {"cumulative_seqlen_Q": CUMULATIVE, "cumulative_seqlen_KV": CUMULATIVE}
LONGEST = {"max_seqlen_Q": 5, "max_seqlen_KV": 5}

# Bad arguments of na1d besides query, key, value and kernel_size, and bad query, key and value.
BAD_ARGUMENTS = (
    {"kernel_size": 1},
    {"kernel_size": 2.5},
    {"kernel_size": (3, 3)},
    {"kernel_size": None},
    {"kernel_size": True},
    {"kernel_size": 9},
    {"kernel_size": "three"},
    {"kernel_size": 3, "stride": 0},
    {"kernel_size": 3, "stride": 4},
    {"kernel_size": 3, "stride": (1, 1)},
    {"kernel_size": 3, "dilation": 0},
    {"kernel_size": 3, "dilation": 3},
    {"kernel_size": 3, "dilation": -1},
    {"kernel_size": 3, "is_causal": 1},
    {"kernel_size": 3, "is_causal": "yes"},
    {"kernel_size": 3, "backend": "foo"},
    {"kernel_size": 3, "backend": "flex-fmha"},
    {"kernel_size": 3, "kernel_schedule": "bar"},
    {"kernel_size": 3, "kernel_schedule": 3},
    {"kernel_size": 3, "q_tile_shape": (64,)},
    {"kernel_size": 3, "q_tile_shape": 64, "kv_tile_shape": 64},
    {"kernel_size": 3, "q_tile_shape": (8, 8), "kv_tile_shape": (8, 8)},
    {"kernel_size": 3, "backend": "flex-fna", "q_tile_shape": (32,), "kv_tile_shape": (64,)},
    {"kernel_size": 3, "additional_keys": _token(1, 2, 2, 8)},
    {"kernel_size": 3, "foo": 1},
)
# Arguments that are unusual but not always wrong.
ODD_ARGUMENTS = (
    {"kernel_size": 3, "stride": None},
    {"kernel_size": 3, "dilation": None},
    {"kernel_size": 3, "is_causal": None},
    {"kernel_size": [3]},
    {"kernel_size": torch.Size([3])},
    {"kernel_size": (3.0,)},
    {"kernel_size": (True,)},
    {"kernel_size": ()},
    {"kernel_size": "3"},
    {"kernel_size": -3},
    {"kernel_size": 8},
    {"kernel_size": 8, "is_causal": True},
    {"kernel_size": 2, "dilation": 4},
    {"kernel_size": 3, "stride": True},
    {"kernel_size": 3, "dilation": True},
    {"kernel_size": (3,), "stride": [2]},
    {"kernel_size": 3, "is_causal": [True]},
    {"kernel_size": 3, "is_causal": (1,)},
    {"kernel_size": 3, "is_causal": (True, True)},
    {"kernel_size": 3, "scale": 0},
    {"kernel_size": 3, "scale": -1.0},
    {"kernel_size": 3, "scale": True},
    {"kernel_size": 3, "scale": torch.tensor(0.5)},
    {"kernel_size": 3, "return_lse": 1},
    {"kernel_size": 3, "return_lse": None},
    {"kernel_size": 3, "attention_kwargs": {}},
    {"kernel_size": 3, "backend": ""},
    {"kernel_size": 3, "backend": "flex-fna"},
    {"kernel_size": 3, "q_tile_shape": (64,), "kv_tile_shape": (64,)},
    {"kernel_size": 3, "kernel_schedule": "non"},
    {"kernel_size": 3, "run_persistent_kernel": None},
    {"kernel_size": 3, "additional_keys": None, "additional_values": None},
)
BAD_ADDITIONAL = (
    (_token(1, 2, 8), _token(1, 2, 8)),
    (_token(2, 2, 2, 8), _token(2, 2, 2, 8)),
    (_token(1, 2, 1, 8), _token(1, 2, 1, 8)),
    (_token(1, 2, 2, 16), _token(1, 2, 2, 8)),
    (_token(1, 2, 2, 8), _token(1, 3, 2, 8)),
    (_token(1, 2, 2, 8), _token(1, 2, 2, 16)),
    (_token(1, 2, 2, 8, dtype=torch.float16), _token(1, 2, 2, 8)),
)
BAD_TENSORS = (
    (Q, Q.half(), Q),
    (Q[0], Q[0], Q[0]),
    (Q, Q2, Q),
    (Q, Q[:, :, :1], Q),
    (_token(1, 8, 3, 8), Q, Q),
    (Q, Q[:, :7], Q[:, :7]),
    (Q, Q, Q[:, :7]),
    (Q, _token(2, 8, 2, 8), _token(2, 8, 2, 8)),
    (Q, _token(1, 8, 2, 16), Q),
    (Q.int(), Q.int(), Q.int()),
)
BAD_ATTENTION_TENSORS = (
    (Q[0], Q[0], Q[0]),
    (Q2, Q2, Q2),
    (Q, Q[:, :5], Q[:, :4]),
    (Q, Q[:, :, :1], Q),
    (_token(1, 8, 3, 8), Q, Q),
    (Q, _token(2, 8, 2, 8), _token(2, 8, 2, 8)),
    (Q, _token(1, 8, 2, 16), Q),
    (Q, Q.half(), Q),
)
BAD_ATTENTION = (
    {"backend": "foo"},
    {"backend": "flex-fna"},
    {"q_tile_size": 64},
    {"q_tile_size": "a", "kv_tile_size": "b"},
    {"kernel_schedule": "x"},
    {"seqlens_Q": INTS},
    {"seqlens_Q": INTS.long(), "seqlens_KV": INTS.long()},
    {"seqlens_Q": INTS, "seqlens_KV": INTS[:1]},
    {"seqlens_Q": INTS[None], "seqlens_KV": INTS[None]},
    {"seqlens_Q": [3, 5], "seqlens_KV": [3, 5]},
    {"seqlens_Q": INTS[:0], "seqlens_KV": INTS[:0]},
    {"cumulative_seqlen_Q": CUMULATIVE},
    PACKED,
    {**PACKED, "max_seqlen_Q": 5.0, "max_seqlen_KV": 5},
    {**PACKED, "max_seqlen_Q": 50, "max_seqlen_KV": 50},
    {**PACKED, "max_seqlen_Q": 0, "max_seqlen_KV": 5},
    {**LONGEST, "cumulative_seqlen_Q": CUMULATIVE, "cumulative_seqlen_KV": CUMULATIVE[:2]},
    {**LONGEST, "cumulative_seqlen_Q": CUMULATIVE[:1], "cumulative_seqlen_KV": CUMULATIVE[:1]},
    {**LONGEST, "cumulative_seqlen_Q": CUMULATIVE.long(), "cumulative_seqlen_KV": CUMULATIVE},
)
LSE = _token(1, 8, 2)
BAD_MERGES = (
    ([Q], [LSE]),
    ([Q, Q], [LSE]),
    ([Q[0], Q[0]], [LSE[0], LSE[0]]),
    ([Q, Q[:, :7]], [LSE, LSE]),
    ([Q, Q], [LSE, LSE[:, :7]]),
    ([Q, Q], [LSE[0], LSE[0]]),
)


def _bad_problems():
    def problem(function, tensors, arguments):
        return {"function": function, "tensors": tuple(tensors), "arguments": arguments}

    yield from (problem("na1d", (Q, Q, Q), arguments) for arguments in BAD_ARGUMENTS)
    for keys, values in BAD_ADDITIONAL:
        arguments = {"kernel_size": 3, "additional_keys": keys, "additional_values": values}
        yield problem("na1d", (Q, Q, Q), arguments)
    yield from (problem("na1d", tensors, {"kernel_size": 3}) for tensors in BAD_TENSORS)
    yield from (problem("attention", tensors, {}) for tensors in BAD_ATTENTION_TENSORS)
    yield from (problem("attention", (Q, Q, Q), arguments) for arguments in BAD_ATTENTION)
    yield from (problem("merge_attentions", lists, {}) for lists in BAD_MERGES)


def test_bad_arguments(tmp_path):
    problems = list(_bad_problems())
    odd = [{"function": "na1d", "tensors": (Q, Q, Q), "arguments": a} for a in ODD_ARGUMENTS]
    assert len(problems) + len(odd) >= 100
    for problem, wanted in zip(problems + odd, _ask(problems + odd, tmp_path), strict=True):
        got = _answer(problem)
        what = f"{problem['function']} {problem['arguments']}"
        if isinstance(wanted[0], str) and not any(text in wanted[1] for text in NO_KERNEL):
            assert isinstance(got[0], str), f"{what}: upstream raises {wanted}"
            assert got[0] == wanted[0], f"{what}: {got} instead of {wanted}"
        elif isinstance(wanted[0], str) and isinstance(got[0], str):
            assert got[0] == wanted[0], f"{what}: {got} instead of {wanted}"
        else:
            assert not isinstance(got[0], str), f"{what}: {got}, upstream computes"
            if not isinstance(wanted[0], str):
                for mine, theirs in zip(got, wanted, strict=True):
                    assert torch.allclose(mine, theirs, atol=1e-5), what
    assert all(isinstance(_answer(problem)[0], str) for problem in problems)


PICKLED = """
import sys, torch, natten
path, what = sys.argv[1:]
if what == "save":
    layers = [getattr(natten, f"NeighborhoodAttention{r}D")(16, 2, 3) for r in (1, 2, 3)]
    torch.save(torch.nn.ModuleList(layers), path)
else:
    for rank, layer in enumerate(torch.load(path, weights_only=False), 1):
        assert type(layer) is getattr(natten, f"NeighborhoodAttention{rank}D")
        with torch.no_grad():
            print(layer(torch.ones(1, *(4,) * rank, 16)).shape)
"""


@pytest.mark.parametrize("saver", [True, False])
def test_pickled_models(tmp_path, saver):
    """Models saved whole by one and loaded by the other, each in a process without the other."""
    require_upstream()
    commands = {
        True: (["-c", PICKLED], str(UPSTREAM)),
        False: (["-m", "natten_mps.compat", "0.21.7", "-c", PICKLED], str(ROOT / "python")),
    }
    for side, what in ((saver, "save"), (not saver, "load")):
        command, path = commands[side]
        command = [sys.executable, *command, tmp_path / "model.pt", what]
        environment = os.environ | {"PYTHONPATH": path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("flip", [True, False])
def test_token_permutation(tmp_path, flip):
    """The orders that 0.21.7 returned for these inputs."""
    from natten_mps.compat.v021.token_permute import (
        token_permute_operation,
        token_unpermute_operation,
    )

    x = torch.arange(24.0).reshape(1, 4, 6, 1, 1)
    permuted, layout, group = token_permute_operation(x, (2, 3), None, flip)
    first = [0, 6, 1, 7, 2, 8, 12, 18] if flip else [0, 1, 2, 6, 7, 8, 3, 4]
    assert permuted.flatten().tolist()[:8] == first
    assert (layout, group) == ((4, 6), (4, 6))
    permuted, layout, group = token_permute_operation(x, (2, 1), (2, 3), flip)
    assert permuted.shape == (6, 4, 1, 1)
    assert permuted[1].flatten().tolist() == [1, 13, 4, 16]
    assert torch.equal(token_unpermute_operation(permuted, layout, (2, 1), (2, 3), flip), x)
