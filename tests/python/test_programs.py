# SPDX-License-Identifier: MIT
"""Programs made of modules and functions by others: recorded, traced, exported and compiled."""

import subprocess
import sys
import warnings

import pytest
import torch

import natten_mps as nm
from natten_mps.compat import v014, v015, v017, v020, v021

GENERATIONS = {"own": nm, "v014": v014, "v015": v015, "v017": v017, "v020": v020, "v021": v021}
MODULES = [
    (name, rank) for name in GENERATIONS for rank in (1, 2, 3) if (name, rank) != ("v014", 3)
]
FUSED = {
    "own": nm.na2d,
    "v017": v017.functional.na2d,
    "v020": v020.functional.na2d,
    "v021": v021.functional.na2d,
}


def module_and_input(name, rank, batch=2):
    kind = getattr(GENERATIONS[name], f"NeighborhoodAttention{rank}D")
    module = kind(16, num_heads=2, kernel_size=3).eval()
    return module, torch.randn(batch, *(8, 6, 7)[:rank], 16)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit")
@pytest.mark.parametrize("grad", [False, True])
def test_recorded_programs_run_where_the_package_is_not(grad, tmp_path):
    wanted = {}
    with torch.set_grad_enabled(grad):
        for name, rank in MODULES:
            module, x = module_and_input(name, rank)
            wanted[f"{name} {rank}"] = (module, torch.randn_like(x))
            torch.jit.save(torch.jit.trace(module, (x,)), str(tmp_path / f"{name} {rank}.pt"))
        for name, fused in FUSED.items():
            x = torch.randn(1, 6, 5, 2, 8)
            wanted[name] = (lambda x, fused=fused: fused(x, x, x, 3), torch.randn_like(x))
            torch.jit.save(torch.jit.trace(wanted[name][0], (x,)), str(tmp_path / f"{name}.pt"))
        outputs = {name: function(x).detach() for name, (function, x) in wanted.items()}
    torch.save({name: x for name, (_, x) in wanted.items()}, tmp_path / "inputs")
    program = (
        "import sys, torch\ninputs = torch.load('inputs')\n"
        "found = {n: torch.jit.load(n + '.pt')(x).detach() for n, x in inputs.items()}\n"
        "torch.save(found, 'outputs')\nassert not any('natten' in m for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    torch.testing.assert_close(torch.load(tmp_path / "outputs"), outputs)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_scripting_is_refused_in_words():
    def calls(x: torch.Tensor) -> torch.Tensor:
        return nm.na2d_qk(x, x, 3)

    given = {"na2d_qk": calls, "merge_attentions": nm.merge_attentions}
    given |= {name: getattr(nm.functional, name) for name in nm.functional.__all__}
    for name, rank in MODULES:
        layer = module_and_input(name, rank)[0]
        given[f"{type(layer).__name__} of {name}"] = layer
        given[f"{type(layer).__name__} inside, {name}"] = torch.nn.Sequential(layer)
    for name, fused in FUSED.items():
        given[f"{fused.__name__} of {name}"] = fused
    given[v015.functional.na1d_av.__name__] = v015.functional.na1d_av
    for what, program in given.items():
        match = r"given to torch.jit.script \(want torch.jit.trace or torch.export\)"
        with pytest.raises(NotImplementedError, match=match) as refused:
            torch.jit.script(program)
        name = what.partition(" ")[0]
        assert str(refused.value).startswith(name), what


@pytest.mark.parametrize(("name", "rank"), MODULES)
def test_modules_traced_by_fx_take_other_sizes(name, rank):
    module, x = module_and_input(name, rank)
    network = torch.nn.Sequential(torch.nn.Linear(16, 16), module)
    traced = torch.fx.symbolic_trace(network)
    larger = torch.randn(3, *(n + 2 for n in x.shape[1:]))[..., :16]
    for y in (x, larger):
        torch.testing.assert_close(traced(y), network(y))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", GENERATIONS)
def test_modules_are_quantized_by_fx(name):
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    module, x = module_and_input(name, 2)
    prepared = prepare_fx(module, get_default_qconfig_mapping("fbgemm"), (x,))
    torch.testing.assert_close(prepared(x), module(x))
    torch.testing.assert_close(convert_fx(prepared)(x), module(x), rtol=0.1, atol=0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "rank"), MODULES)
def test_the_old_exporter_to_onnx_takes_modules(name, rank, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    module, x = module_and_input(name, rank)
    file = str(tmp_path / "module.onnx")
    axes = {"x": {0: "batch"}, "out": {0: "batch"}}
    names = {"input_names": ["x"], "output_names": ["out"], "dynamic_axes": axes}
    torch.onnx.export(module, (x,), file, dynamo=False, **names)
    y = torch.randn(3, *x.shape[1:])
    (out,) = onnxruntime.InferenceSession(file).run(None, {"x": y.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), module(y).detach(), rtol=1e-4, atol=1e-5)


@pytest.fixture
def fresh():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("name", "length", "dynamic"),
    [
        ("own", 6, True),
        ("own", 40, None),
        pytest.param("own", 40, True, marks=pytest.mark.slow),
        ("v017", 40, None),
        ("v020", 6, None),
        ("v020", 40, True),
        ("v021", 40, None),
    ],
)
def test_compiled_functions_take_every_scale(name, length, dynamic):
    fused, x = FUSED[name], torch.randn(1, length, length, 2, 8)

    def function(x, scale):
        return fused(x, x, x, 3, scale=scale)

    compiled = torch.compile(function, backend="eager", fullgraph=True, dynamic=dynamic)
    tensors = [torch.tensor(0.5, requires_grad=True), torch.tensor([0.1], requires_grad=True)]
    for scale in (0.5, 0.25, 1, 2.5, *tensors):
        torch.testing.assert_close(compiled(x, scale), function(x, scale))
    for scale in tensors:
        given, want = (
            torch.autograd.grad(f(x, scale).square().sum(), scale) for f in (compiled, function)
        )
        torch.testing.assert_close(given, want)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("name", "dynamic"),
    [
        ("own", None),
        pytest.param("own", True, marks=pytest.mark.slow),
        ("v015", None),
        pytest.param("v017", None, marks=pytest.mark.slow),
        ("v021", True),
    ],
)
def test_modules_of_other_head_dims_are_compiled_one_by_one(name, dynamic):
    kind = GENERATIONS[name].NeighborhoodAttention2D
    modules = [kind(16, num_heads=heads, kernel_size=3) for heads in (2, 4, 1)]
    eager = torch.nn.Sequential(*modules)
    inputs = [torch.randn(2, n, n, 16, requires_grad=True) for n in (6, 20, 21)]
    outputs = [eager(x) for x in inputs]
    for module in modules:
        module.compile(backend="eager", fullgraph=True, dynamic=dynamic)
    for x, want in zip(inputs, outputs, strict=True):
        out = eager(x)
        torch.testing.assert_close(out, want)
        given = torch.autograd.grad(out.square().sum(), x)
        torch.testing.assert_close(given, torch.autograd.grad(want.square().sum(), x))


def test_what_autograd_calls_the_operations():
    x = torch.randn(1, 6, 6, 2, 8, requires_grad=True)
    attn = nm.na2d_qk(x, x, 3)
    nodes = [nm.na2d(x, x, x, 3), attn, nm.na2d_av(attn.softmax(-1), x, 3)]
    names = [out.grad_fn.name() for out in nodes]
    assert names == [f"Neighborhood{n}Backward" for n in ("Attention", "Logits", "Values")]


def test_dimensions_without_entries_are_refused():
    x = torch.randn(1, 6, 6, 2, 8)
    for choice in ("native", "pure"):
        with nm.use_backend(choice):
            for q, v in ((x[..., :0], x), (x, x[..., :0])):
                with pytest.raises(ValueError, match=r"0 entries .*\(want at least 1\)"):
                    nm.na2d(q, q, v, 3)


def test_subclasses_that_decline_are_named():
    class Declines(torch.Tensor):
        __torch_function__ = torch._C._disabled_torch_function_impl

        @classmethod
        def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    x = torch.randn(1, 6, 6, 2, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        declining = torch.Tensor._make_subclass(Declines, x)
    with pytest.raises(NotImplementedError, match=r"key is a Declines.*want a plain tensor"):
        nm.na2d(x, declining, x, 3)


@pytest.mark.filterwarnings("ignore")
def test_counters_of_operations_find_upstreams_names():
    """In graphs as fvcore reads them."""
    for name, function in (("v014", "NATTEN1DQKRPBFunction"), ("v015", "NeighborhoodAttention1D")):
        module, x = module_and_input(name, 1)
        graph, _ = torch.jit._get_trace_graph(module, (x,))
        assert function in str(graph)
