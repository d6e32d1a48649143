# SPDX-License-Identifier: MIT
"""Problems divided over processes, against the whole problems."""

import re
from math import prod

import pytest
from distributed_edges import WRONG
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import Processes
from test_compat_clients import SCRIPTS, client_path

from natten_mps.distributed._function import partition_of
from natten_mps.distributed.plan import Rows, estimate, main, traffic
from natten_mps.utils.params import make_window

MANY = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module")
def processes():
    group = Processes(8)
    group.run("distributed_checks:make_groups", [2, 3, 4, 6, 8])
    yield group
    group.stop()


@st.composite
def problems(draw):
    """A problem, the sizes of a mesh, and the axis that each dimension of the mesh divides."""
    rank = draw(st.integers(1, 3))
    axes = range(rank)
    kernel = [draw(st.integers(1, 5)) for _ in axes]
    dilation = [draw(st.integers(1, 3)) for _ in axes]
    heads = draw(st.sampled_from([(2, 2), (4, 2), (4, 1), (3, 1)]))
    problem = {
        "seed": draw(st.integers(0, 999)),
        "batch": draw(st.integers(1, 2)),
        "lengths": [k * d + draw(st.integers(0, 7)) for k, d in zip(kernel, dilation, strict=True)],
        "heads": heads[0],
        "kv_heads": heads[1],
        "value_dim": draw(st.sampled_from([4, 3])),
        "extra": draw(st.sampled_from([0, 0, 2])),
        "kernel": kernel,
        "dilation": dilation,
        "stride": [draw(st.integers(1, k)) for k in kernel],
        "step": [draw(st.integers(1, k)) for k in kernel],
        "causal": [draw(st.booleans()) for _ in axes],
        "scale": draw(st.sampled_from([None, 0.4])),
        "rpb": draw(st.booleans()),
    }
    if draw(st.booleans()):
        problem["step"] = [1] * rank
    return problem


SHAPES = [(2,), (3,), (4,), (8,), (2, 2), (2, 4), (3, 2), (2, 2, 2)]


def _grid(draw, rank, shape):
    grid = [1] * rank
    for size in shape:
        grid[draw(st.integers(0, rank - 1))] *= size
    return grid


@settings(max_examples=25, **MANY)
@given(problems(), st.sampled_from(SHAPES), st.data())
def test_local_tensors(processes, problem, shape, data):
    grid = _grid(data.draw, len(problem["lengths"]), shape)
    found = processes.run("distributed_checks:local_tensors", problem, grid, size=prod(grid))
    heads = problem["batch"] * 8  # bytes per element, over all samples
    rows = Rows(
        keys=heads * problem["kv_heads"] * (4 + problem["value_dim"]),
        queries=heads * problem["heads"] * 4,
    )
    window = make_window(
        len(grid),
        problem["kernel"],
        problem["dilation"],
        problem["step"],
        problem["causal"],
        problem["stride"],
    )
    partition = partition_of(window, problem["lengths"], grid)
    for rank, counted in enumerate(found):
        assert counted == traffic(partition, rank, rows, sent=True)


@pytest.mark.slow
@settings(max_examples=300, **MANY)
@given(problems(), st.sampled_from(SHAPES), st.data())
def test_many_local_tensors(processes, problem, shape, data):
    grid = _grid(data.draw, len(problem["lengths"]), shape)
    processes.run("distributed_checks:local_tensors", problem, grid, size=prod(grid))


@pytest.mark.parametrize(
    ("sizes", "kernel", "grid", "rows", "messages"),
    [
        ((64,), (7,), (4,), 6, 2),  # three from each side
        ((64,), (8,), (4,), 7, 2),
        ((64, 64), (7, 7), (4, 4), 22 * 22 - 16 * 16, 8),
        ((16, 16, 16), (3, 3, 3), (4, 4, 4), 6**3 - 4**3, 26),
        ((16,), (9,), (8,), 8, 4),  # parts of 2 positions: two neighbors on each side
        ((16384,), (3,), (4096,), 2, 2),
    ],
)
def test_halos_are_those_of_the_closed_form(sizes, kernel, grid, rows, messages):
    found = estimate(sizes, kernel, grid, heads=2, dim=4, itemsize=2).traffic
    assert found == (rows * 2 * 2 * 4 * 2, messages)


def test_the_plan_on_the_command_line(capsys):
    main(["64x64", "7", "16x1", "--network", "datacenter"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["16x1", "1.573", "MB", "2", "messages"]
    assert lines[3].split()[0] == "4x4"
    with pytest.raises(SystemExit):
        main(["64x64", "7", "16"])


MESHES = [(2,), (3,), (4,), (8,), (2, 2), (3, 2), (2, 4), (4, 2), (2, 2, 2)]
CUTS = st.sampled_from([None, "batch", "heads", 0, 1, 2])


@settings(max_examples=25, **MANY)
@given(problems(), st.sampled_from(MESHES), st.data())
def test_dtensors(processes, problem, shape, data):
    cuts = [data.draw(CUTS) for _ in shape]
    cuts = [min(c, len(problem["lengths"]) - 1) if isinstance(c, int) else c for c in cuts]
    processes.run("distributed_checks:dtensors", problem, shape, cuts)


@pytest.mark.parametrize(
    ("options", "places", "shape"),
    [
        ({"axes": 2, "kernel_size": 3, "rel_pos_bias": True}, [1, 2], (2, 4)),
        ({"axes": 2, "kernel_size": 3, "dilation": 2, "num_kv_heads": 2}, [None, 1], (2, 4)),
        ({"axes": 1, "kernel_size": 5, "is_causal": True}, [1], (4,)),
        ({"axes": 3, "kernel_size": 3, "stride": (1, 2, 1)}, [2, 3], (2, 4)),
        # Parts of 3, 3 and 2 rows.
        ({"axes": 2, "kernel_size": 3}, [1], (3,)),
        ({"axes": 2, "kernel_size": 3, "version": "0.17.5"}, [1], (3,)),
        ({"axes": 2, "kernel_size": 3, "version": "0.21.7"}, [1], (3,)),
    ],
)
def test_modules(processes, options, places, shape):
    processes.run("distributed_checks:modules", options, places, shape)


def test_hooks_of_projections_get_dtensors(processes):
    processes.run("distributed_edges:hooks")


@pytest.mark.parametrize(("kv_heads", "computed"), [(None, 4), (2, 2), (1, 2)])
def test_tensor_parallel(processes, kv_heads, computed):
    """Each process computes its half of the heads where the projections leave them apart."""
    found = processes.run("distributed_checks:tensor_parallel", kv_heads)
    assert found[:2] == [computed] * 2


def test_gradients_of_gradients(processes):
    processes.run("distributed_checks:gradients_of_gradients")


def test_results_do_not_depend_on_timing(processes):
    processes.run("distributed_checks:same_every_time")


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtensors", [False, True])
def test_compile(processes, dtensors, backend):
    processes.run("distributed_checks:compiled", dtensors, backend, slack=600)


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_data_parallel_outside(processes, kind):
    processes.run("distributed_checks:data_parallel", kind)


@pytest.mark.parametrize("length", [13, 6])
def test_several_backward_passes(processes, length):
    processes.run("distributed_edges:accumulated", length)


@pytest.mark.parametrize(
    ("dtype", "bound"), [("float32", 1e-5), ("float16", 8e-3), ("bfloat16", 4e-2)]
)
def test_types(processes, dtype, bound):
    processes.run("distributed_edges:types", dtype, bound)


@pytest.mark.parametrize("what", ["split", "placements"])
def test_dtensors_of_other_kinds(processes, what):
    processes.run(f"distributed_edges:{what}")


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 3)])
def test_a_mesh_of_some_processes(processes, shape):
    processes.run("distributed_edges:fewer", shape)


@pytest.mark.parametrize(("shape", "places"), [((3,), [2]), ((2, 2), [2, 3])])
def test_a_model_of_which_only_the_inputs_are_cut(processes, shape, places):
    rows = processes.run("distributed_edges:whole_model", shape, places)[: prod(shape)]
    assert max(rows) < 11  # of the attention's keys, 11 rows in all


def test_layers_called_with_keywords(processes):
    processes.run("distributed_edges:keywords")


@pytest.mark.slow
def test_dinat_of_transformers():
    pytest.importorskip("transformers")
    few = Processes(4)  # in which `import natten` has another meaning afterwards
    try:
        rows = few.run("distributed_edges:dinat")
    finally:
        few.stop()
    assert max(rows) < 8  # of the last attention, of 8 rows in all


@pytest.mark.slow
def test_hourglass_diffusion_transformer(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    client = str(client_path("hdit-0.0.1b6"))
    few = Processes(4)
    try:
        assert min(few.run("hdit_sharded:work", client, slack=600)) > 30
    finally:
        few.stop()


def test_everyone_gets_the_error(processes):
    found = processes.run("distributed_edges:refused")
    for texts in found[:4]:
        for (_, wanted), text in zip(WRONG, texts, strict=True):
            assert re.search(wanted, text), text


def test_one_mesh_per_call(processes):
    for text in processes.run("distributed_edges:two_meshes")[:4]:
        assert re.match(r"key is on mesh .* \(want one mesh\)", text)


def test_a_process_that_exits_is_no_success():
    few = Processes(2)
    try:
        with pytest.raises(AssertionError, match=r"the first is 1:\nIt exited\."):
            few.run("distributed_checks:late", None)
    finally:
        few.stop()


@pytest.mark.parametrize("seconds", [None, 9])
def test_a_process_that_dies_or_is_late(seconds):
    few = Processes(2, patience=4)
    try:
        text, _ = few.run("distributed_checks:late", seconds, ends=(1,) if seconds is None else ())
    finally:
        few.stop()
    assert "imed out" in text or "closed" in text or "reset" in text.lower(), text
