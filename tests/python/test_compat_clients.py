# SPDX-License-Identifier: MIT
"""Programs written for `natten`, unmodified, against an attention written from the definition.

They run in processes of their own, started by `python -m natten_mps.compat VERSION`, and are
installed by `./build.sh clients`. NATTEN_TEST_REQUIRE=clients makes a missing one a failure.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = ROOT / "tests/downstream"


def client_path(name):
    folder = ROOT / "build/clients" / name
    if not folder.is_dir():
        reason = f"{name} is not in build/clients; ./build.sh clients installs it"
        if "clients" in os.environ.get("NATTEN_TEST_REQUIRE", "").split(","):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def run(version, client, *arguments):
    """Output of a script with that client and that version of natten."""
    paths = [str(SCRIPTS), str(ROOT / "python"), str(ROOT / "tests/metalsim/python")]
    if client is not None:
        paths.append(str(client_path(client)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "natten_mps.compat", version, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def passes(version, client, *arguments):
    done = run(version, client, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tensors agree" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("what", ["backbone", "classification"])
@pytest.mark.parametrize(
    ("version", "client"), [("0.14.6", "transformers-5.24.0"), ("0.17.4", "transformers-5.24.0")]
)
def test_transformers_dinat(version, client, what):
    passes(version, client, str(SCRIPTS / "dinat.py"), what)


@pytest.mark.slow
def test_transformers_457_fails_in_its_own_code():
    """4.57's attention unpacks three sizes of a tensor that has four, before it calls natten. The
    release works as soon as that line does; until then no natten can help."""
    done = run("0.14.6", "transformers-4.57.6", str(SCRIPTS / "dinat.py"), "backbone")
    assert done.returncode != 0
    last_call = done.stderr.rstrip().splitlines()
    assert last_call[-1] == "ValueError: too many values to unpack (expected 3)"
    assert "batch_size, seq_length, _ = hidden_states.shape" in done.stderr
    assert "natten_mps/compat/v014" not in done.stderr


@pytest.mark.slow
def test_installed_transformers_dinat():
    """The version that the demo uses, whose calls are those of upstream's documentation."""
    transformers = pytest.importorskip("transformers")
    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    if (major, minor) >= (4, 54):
        pytest.skip(f"transformers {transformers.__version__} is installed, not 4.53 or older")
    passes("0.14.6", None, str(SCRIPTS / "dinat.py"), "backbone")
    passes("0.15.1", None, str(SCRIPTS / "dinat.py"), "classification")


@pytest.mark.slow
def test_allin1_dinat():
    passes("0.14.6", "allin1-1.1.0", str(SCRIPTS / "allin1_dinat.py"))


@pytest.mark.slow
def test_hourglass_diffusion_transformer():
    passes("0.17.5", "hdit-0.0.1b6", str(SCRIPTS / "hdit_block.py"))


@pytest.mark.slow
def test_compiled_hourglass_diffusion_transformer(tmp_path, monkeypatch):
    """Forward and backward as one graph. hdit's own rotary embedding, an autograd.Function with a
    jvp, is what torch.compile refuses; the script exchanges that function and nothing else."""
    # PyTorch's cache on disk does not distinguish our versions, whose gradients differ in strides.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    passes("0.17.5", "hdit-0.0.1b6", str(SCRIPTS / "hdit_compile.py"))


@pytest.mark.slow
def test_stormscope_attention():
    passes("0.21.6", "physicsnemo-2.2.2", str(SCRIPTS / "stormscope_attention.py"))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.14.6", "0.21.7"])
def test_ltx2_decoder_block_with_the_kernel_of_the_hub(version, monkeypatch):
    """Whatever version is active: the hub's NATTEN is its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    passes(version, "diffusers-0.42.1", str(SCRIPTS / "ltx2_block.py"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the simulated Metal is for Linux")
def test_ltx2_decoder_block_on_the_simulated_gpu(monkeypatch):
    for variable, build in {
        "NATTEN_MPS_SIMULATOR": ["go", "run", "./tests/metalsim/cmd/simbuild"],
        "NATTEN_MPS_LIBRARY": ["tests/metalsim/library.sh"],
    }.items():
        done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=True)
        monkeypatch.setenv(variable, done.stdout.strip())
    monkeypatch.setenv("NATTEN_MPS_TIER", "1-block")
    monkeypatch.setenv("NATTEN_MPS_VERIFY", "off")
    monkeypatch.setenv("METALSIM_MODE", "fast")
    monkeypatch.setenv("NATTEN_BACKEND", "metal")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    passes("0.21.7", "diffusers-0.42.1", str(SCRIPTS / "ltx2_block.py"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "kind", "weights"),
    [
        ("0.14.6", "split", 1),
        ("0.15.1", "split", 1),
        ("0.17.3", "split", 1),
        ("0.17.3", "fused", 1),
        ("0.17.5", "split", 0),
        ("0.17.5", "fused", 0),
    ],
)
def test_operations_counted_by_fvcore(version, kind, weights):
    """Releases up to 0.17.3 count one more a weight, for a bias or for the softmax."""
    done = run(version, "fvcore-0.1.5.post20221221", str(SCRIPTS / "flops.py"), kind)
    assert done.returncode == 0, done.stdout + done.stderr
    tokens, dim, heads, slots = 64, 32, 4, 49
    linear = tokens * dim * 4 * dim
    attention = 2 * heads * tokens * 8 * slots + weights * heads * tokens * slots
    assert done.stdout.split()[-1] == str(linear + attention)
