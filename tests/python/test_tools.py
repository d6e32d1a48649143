# SPDX-License-Identifier: MIT
"""The benchmark command and the pictures."""

import json

import pytest
import torch

from natten_mps import backend, bench

viz = pytest.importorskip("natten_mps.viz")
pytest.importorskip("matplotlib", reason="needs matplotlib")

FEW = ["--repeats", "1", "--warmup", "1", "--filter", "3D 16", "--device", "cpu"]


def test_bench_compares_backends(capsys):
    bench.main([*FEW, "--backward", "--backend", "native", "pure"])
    out = capsys.readouterr().out
    assert "3D 16x16x16 K=3" in out
    assert "pure/native backward" in out
    assert out.splitlines()[-1].endswith("x")


def test_bench_writes_json_that_can_be_drawn(capsys, tmp_path):
    bench.main([*FEW, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["rows"][0]["times_ms"]["native"]["forward"] > 0
    viz.benchmark(report, path=tmp_path / "bench.png")
    assert (tmp_path / "bench.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--backend", "cuda"], "Unknown backend 'cuda'"),
        (["--repeats", "0"], "'0' is no count"),
        (["--dtype", "int8"], "invalid choice"),
    ],
)
def test_bench_refuses(arguments, text, capsys):
    before = backend.choice
    with pytest.raises(SystemExit):
        bench.main([*FEW, *arguments])
    assert text in capsys.readouterr().err
    assert backend.choice == before


@pytest.mark.slow
def test_bench_overhead(capsys):
    torch.set_num_threads(1)
    bench.main(["--overhead", "--json", "--device", "cpu", "--backend", "native", "pure"])
    found = json.loads(capsys.readouterr().out)
    for what, microseconds in found["native"].items():
        if what != "compiled module":  # compiled programs turn pure into loops, and call native
            assert microseconds < found["pure"][what], what


def test_bench_lists_and_explains(capsys):
    bench.main(["--list"])
    assert len(capsys.readouterr().out.splitlines()) == len(bench.ROWS)
    with pytest.raises(SystemExit):
        bench.main(["--help"])
    assert "--backward" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no row contains 'zzz'"):
        bench.main(["--filter", "zzz"])


def test_windows_of_the_worked_example():
    """1-D, 8 tokens, K=4, GNA stride 2: leaders 1, 3, 5, 7."""

    def keys(causal):
        return [row.nonzero().flatten().tolist() for row in viz.visible_keys(8, 4, 1, 2, causal)]

    starts = [0, 0, 1, 1, 3, 3, 4, 4]
    assert keys(False) == [list(range(s, s + 4)) for s in starts]
    assert keys(True) == [list(range(s, i + 1)) for i, s in enumerate([0, 0, 0, 0, 2, 2, 4, 4])]


@pytest.mark.parametrize("length", [9, (6, 7), (3, 4, 5)])
def test_pictures_of_windows(length, tmp_path):
    figure = viz.windows(length, 3, is_causal=True, path=tmp_path / "windows.png")
    assert (tmp_path / "windows.png").stat().st_size > 5000
    panels = {9: 1, (6, 7): 1, (3, 4, 5): 3}[length]
    assert len(figure.axes) == panels


def test_window_of_no_query():
    with pytest.raises(ValueError, match=r"query is \(9, 0\) \(want 2 indices below \(6, 7\)\)"):
        viz.windows((6, 7), 3, query=(9, 0))


def test_attention_over_an_image(tmp_path):
    q, k = torch.randn(8, 9, 2, 4), torch.randn(8, 9, 2, 4)
    found = viz.attention_map(q, k, (2, 8), 5)
    logits = torch.einsum("hd,yxhd->hyx", q[2, 8], k[0:5, 4:9]) / 2
    want = torch.zeros(8, 9)
    want[0:5, 4:9] = logits.flatten(1).softmax(-1).reshape(2, 5, 5).mean(0)
    torch.testing.assert_close(found, want)
    viz.attention_over_image(torch.rand(32, 36, 3).numpy(), found, (2, 8), path=tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
