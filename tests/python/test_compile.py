# SPDX-License-Identifier: MIT
"""What torch.compile and torch.export make of functions and modules."""

import pytest
import torch

import natten_mps as nm
from natten_mps import backend, ops


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch.compiler.reset()


def graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def same(got, want):
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def compare(function, compiled, inputs):
    got, want = compiled(*inputs), function(*inputs)
    same(got, want)
    outputs = want if isinstance(want, tuple) else (want,)
    compiled_outputs = got if isinstance(got, tuple) else (got,)
    leaves = [x for x in inputs if x.requires_grad]
    if leaves:
        same(
            torch.autograd.grad(sum(o.square().sum() for o in compiled_outputs), leaves),
            torch.autograd.grad(sum(o.square().sum() for o in outputs), leaves),
        )


def with_additional(q, k, v):
    return nm.na3d(q, k, v, 2, additional_keys=k[:, 0, 0], additional_values=v[:, 0, 0])


FUNCTIONS = {
    "na1d": (lambda q, k, v: nm.na1d(q, k, v, 3, 2, 1, True, return_lse=True), (9,)),
    "na2d": (lambda q, k, v: nm.na2d(q, k, v, (3, 5)), (6, 7)),
    "na3d": (with_additional, (4, 4, 3)),
    "split": (lambda q, k, v: nm.na2d_av(nm.na2d_qk(q, k, 3).softmax(-1), v, 3), (6, 7)),
    "merge": (lambda q, k, v: nm.merge_attentions([q, k], [q[..., 0], v[..., 0]])[0], (5,)),
    "varlen": (lambda q, k, v: nm.na1d_varlen(q, k, v, torch.tensor([5, 9]), 3), (9,)),
}


@pytest.mark.parametrize(
    ("name", "choice"),
    [*((name, "native") for name in FUNCTIONS), ("na1d", "auto"), ("na2d", "auto")],
)
def test_compile_functions(name, choice):
    backend.set_backend(choice)
    function, spatial = FUNCTIONS[name]
    inputs = [torch.randn(2, *spatial, 2, 8, requires_grad=True) for _ in range(3)]
    compare(function, torch.compile(function, fullgraph=True), inputs)
    assert graphs() == 1


def test_compile_does_not_compile_again_for_every_size():
    function = torch.compile(lambda q: nm.na1d(q, q, q, 3), fullgraph=True)
    for length in (8, 9, 13, 17, 30):
        q = torch.randn(2, length, 2, 4)
        same(function(q), nm.na1d(q, q, q, 3))
    assert graphs() <= 2


def test_compile_with_kernel_sizes_given_as_arguments():
    function = torch.compile(lambda q, k: nm.na1d(q, q, q, k), fullgraph=True)
    q = torch.randn(1, 40, 2, 32)
    for kernel_size in (3, 5, 7):
        same(function(q, kernel_size), nm.na1d(q, q, q, kernel_size))


def targets(function, *inputs, **options):
    """Compile a function, run it, and name the operations of its graphs."""
    names = []

    def look(graph, _):
        names.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    torch.compile(function, backend=look, fullgraph=True, **options)(*inputs)
    return names


OPERATION = "natten_mps.attn"


@pytest.mark.parametrize(
    ("choice", "length", "options", "kept"),
    [
        ("auto", 16, {}, False),
        ("pure", 16, {}, False),
        ("native", 16, {}, True),
        ("auto", 100, {}, True),
        pytest.param(
            *("auto", 16, {"dynamic": True}, True),
            marks=pytest.mark.skipif(
                torch.__version__ < "2.11",
                reason="its compiler cannot ask whether a size is known",
            ),
        ),
    ],
)
def test_compiler_gets_loops_for_tiny_problems(choice, length, options, kept):
    backend.set_backend(choice)
    q = torch.randn(1, length, 1, 8)
    found = targets(lambda q: nm.na1d(q, q, q, 7), q, **options)
    assert (OPERATION in found) == kept


def test_compiler_gets_the_operation_for_what_loops_do_not_cover():
    backend.set_backend("auto")
    q, k = torch.randn(1, 8, 2, 4), torch.randn(1, 8, 1, 4)
    bias, sizes = torch.randn(2, 5), torch.tensor([6])
    assert OPERATION in targets(lambda: nm.na1d(q, k, k, 3))
    assert OPERATION in targets(lambda: nm.na1d(q, q, q, 3, rpb=bias))
    assert OPERATION in targets(lambda: nm.na1d(q, q, q, 3, additional_keys=q, additional_values=q))
    assert OPERATION in targets(lambda: nm.na1d_varlen(q, q, q, sizes, 3))


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((1, 8, 2, 4), ops.Window((5,), (2,), (1,), (1,), (False,))),
        ((1, 8, 2, 4), ops.Window((3,), (1,), (4,), (1,), (False,))),
        ((1, 8, 8, 2, 4), ops.Window((3,), (1,), (1,), (1,), (False,))),
    ],
)
def test_compiled_tiny_problems_are_checked(shape, window):
    backend.set_backend("auto")
    q = torch.randn(shape)
    with pytest.raises(Exception, match=r"want kernel \* dilation <= length|exceeds kernel|want 4"):
        torch.compile(lambda q: ops.attn(q, q, q, window=window), fullgraph=True)(q)


@pytest.mark.parametrize(
    ("convert", "scale", "message"),
    [
        (torch.Tensor.double, None, "want one dtype"),
        (lambda k: k[:, :7], None, "do not fit"),
        (torch.clone, float("nan"), "want a finite number"),
    ],
)
def test_compiled_tiny_problems_are_refused_as_others_are(convert, scale, message):
    backend.set_backend("auto")
    q, window = torch.randn(1, 8, 2, 4), ops.Window((3,), (1,), (1,), (1,), (False,))
    with pytest.raises(Exception, match=message):
        torch.compile(lambda q, k: ops.attn(q, k, k, window=window, scale=scale), fullgraph=True)(
            q, convert(q)
        )


@pytest.mark.skipif(
    torch.__version__ < "2.10", reason="its compiler leaves out what an exception says"
)
@pytest.mark.parametrize("length", [16, 200])
def test_compiled_functions_refuse_what_eager_ones_do(length):
    q = torch.randn(1, length, 1, 8)
    for options, message in (
        ({"kernel_size": 3, "stride": 5}, "must be <= kernel_size"),
        ({"kernel_size": length, "dilation": 2}, "exceeds length"),
    ):
        with pytest.raises(Exception, match=message):
            torch.compile(lambda q, o=options: nm.na1d(q, q, q, **o), fullgraph=True)(q)
        module = nm.NeighborhoodAttention1D(8, 1, **options)
        with pytest.raises(Exception, match=message):
            torch.compile(module, fullgraph=True)(q.flatten(-2))


def test_compiled_training_step():
    module = nm.NeighborhoodAttention2D(16, 2, 3, is_causal=(True, False), rel_pos_bias=True)
    other = nm.NeighborhoodAttention2D(16, 2, 3, is_causal=(True, False), rel_pos_bias=True)
    other.load_state_dict(module.state_dict())
    compiled = torch.compile(module, fullgraph=True)
    x = torch.randn(2, 6, 5, 16)
    for net, run in ((module, compiled), (other, other)):
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            run(x).square().mean().backward()
            optimizer.step()
    for got, want in zip(module.parameters(), other.parameters(), strict=True):
        same(got, want)
    assert graphs() == 1


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_compile_modules(rank):
    module = getattr(nm, f"NeighborhoodAttention{rank}D")(16, 4, 3, stride=2, num_kv_heads=2)
    x = torch.randn(2, *(7, 6, 5)[:rank], 16, requires_grad=True)
    compare(module, torch.compile(module, fullgraph=True), [x])


def test_compile_pure():
    nm.set_backend("pure")
    function, spatial = FUNCTIONS["na2d"]
    inputs = [torch.randn(2, *spatial, 2, 8, requires_grad=True) for _ in range(3)]
    compare(function, torch.compile(function, fullgraph=True), inputs)


def test_export_round_trip(tmp_path):
    module = nm.NeighborhoodAttention2D(16, 2, 3).eval()
    x = torch.randn(2, 6, 5, 16)
    sizes = {"x": {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}}
    program = torch.export.export(module, (x,), dynamic_shapes=sizes)
    if hasattr(torch.compiler, "is_exporting"):  # otherwise tiny problems become PyTorch operations
        assert any("natten_mps.attn" in str(node.target) for node in program.graph.nodes)
    torch.export.save(program, tmp_path / "module.pt2")
    loaded = torch.export.load(tmp_path / "module.pt2").module()
    same(loaded(x), module(x))
    y = torch.randn(3, 8, 5, 16)
    same(loaded(y), module(y))
