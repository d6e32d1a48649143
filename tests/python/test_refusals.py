# SPDX-License-Identifier: MIT
"""Arguments of a wrong kind or on a wrong device: an error that starts with what was given."""
# ruff: noqa: E501 - the table has a row per line

import re
import subprocess
import sys
import textwrap

import pytest
import torch

import natten_mps as nm

Q = torch.zeros(1, 8, 1, 4)
META = torch.zeros(1, 8, 1, 4, device="meta")
LENS = torch.tensor([8])
ENDS = torch.tensor([0, 8])


def module(**options):
    return nm.NeighborhoodAttention1D(
        **{"embed_dim": 8, "num_heads": 2, "kernel_size": 3, **options}
    )


REFUSED = {
    "rpb list": (TypeError, "na1d expects rpb to be a tensor, got list", lambda: nm.na1d(Q, Q, Q, 3, rpb=[1])),
    "rpb text": (TypeError, "na1d_qk expects rpb to be a tensor, got str", lambda: nm.na1d_qk(Q, Q, 3, rpb="x")),
    "extra keys": (TypeError, "additional KV expects additional_keys to be a tensor, got int", lambda: nm.na1d_qk(Q, Q, 3, additional_keys=3)),
    "extra values": (TypeError, "additional KV expects additional_values to be a tensor, got int", lambda: nm.na1d_av(Q[..., :3], Q, 3, additional_values=3)),
    "seq_lens": (TypeError, "varlen expects seq_lens to be a tensor, got list", lambda: nm.na1d_varlen(Q, Q, Q, [8], 3)),
    "cumulative_lens": (TypeError, "na1d_packed expects cumulative_lens to be a tensor, got list", lambda: nm.na1d_packed(Q[0], Q[0], Q[0], [0, 8], 3)),
    "output": (TypeError, "outputs[1] is of type int (want a tensor)", lambda: nm.merge_attentions([Q, 3], [Q[..., 0]] * 2)),
    "lse": (TypeError, "lse_tensors[1] is of type int (want a tensor)", lambda: nm.merge_attentions([Q, Q], [Q[..., 0], 3])),
    "x": (TypeError, "NeighborhoodAttention1D expects x to be a tensor, got list", lambda: module()([1])),
    "embed_dim": (TypeError, "embed_dim is 8.0 (want an integer)", lambda: module(embed_dim=8.0)),
    "num_heads": (TypeError, "num_heads is '2' (want an integer)", lambda: module(num_heads="2")),
    "attn_drop": (TypeError, "attn_drop is 'a' (want a number from 0 to 1)", lambda: module(attn_drop="a")),
    "proj_drop": (ValueError, "proj_drop is 2 (want a number from 0 to 1)", lambda: module(proj_drop=2)),
    "key's device": (ValueError, "query is on cpu but key is on meta (want one device)", lambda: nm.na1d(Q, META, Q, 3)),
    "rpb's device": (ValueError, "query is on cpu but rpb is on meta (want one device)", lambda: nm.na1d(Q, Q, Q, 3, rpb=torch.zeros(1, 5, device="meta"))),
    "seq_lens' device": (ValueError, "seq_lens is on meta (want a device whose values can be read)", lambda: nm.na1d_varlen(Q, Q, Q, LENS.to("meta"), 3)),
    "cumulative_lens' device": (ValueError, "cumulative_lens is on meta (want a device whose values can be read)", lambda: nm.na1d_packed(Q[0], Q[0], Q[0], ENDS.to("meta"), 3)),
    "output's device": (ValueError, "outputs[1] is on meta but outputs[0] is on cpu (want one device)", lambda: nm.merge_attentions([Q, META], [Q[..., 0]] * 2)),
    "no x": (TypeError, "NeighborhoodAttention1D expects x to be a tensor, got NoneType", lambda: module()(None)),
    "no output": (TypeError, "outputs[1] is of type NoneType (want a tensor)", lambda: nm.merge_attentions([Q, None], [Q[..., 0]] * 2)),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    kind, text, provoke = REFUSED[what]
    with pytest.raises(kind, match="^" + re.escape(text)):
        provoke()


#: Calls with the required tensors, by their names.
CALLS = {
    "na1d": (("query", "key", "value"), lambda *x: nm.na1d(*x, 3)),
    "na1d with a tensor as scale": (
        ("query", "key", "value"),
        lambda *x: nm.na1d(*x, 3, scale=torch.ones(())),
    ),
    "na1d_qk": (("query", "key"), lambda *x: nm.na1d_qk(*x, 3)),
    "na1d_av": (("attn", "value"), lambda *x: nm.na1d_av(*x, 3)),
    "na1d_varlen": (("query", "key", "value"), lambda *x: nm.na1d_varlen(*x, LENS, 3)),
    "na1d_packed": (("query", "key", "value"), lambda *x: nm.na1d_packed(*x, ENDS, 3)),
    "step": (("query", "key", "value"), lambda *x: nm.streaming.Stream().step(*x, 3)),
}


@pytest.mark.parametrize(
    ("call", "at"), [(call, at) for call, (names, _) in CALLS.items() for at in range(len(names))]
)
def test_none_for_a_required_tensor(call, at):
    names, function = CALLS[call]
    tensors = [None if i == at else Q for i in range(len(names))]
    text = f"(expects {names[at]} to be a tensor, got NoneType|^{names[at]} is None)"
    with pytest.raises(TypeError, match=text):
        function(*tensors)


def test_meta_batches_have_meta_sizes():
    assert nm.na1d_varlen(META, META, META, LENS.to("meta"), 3).shape == META.shape


def test_later_imports():
    """Operations are defined again, whether or not the modules of the import before are alive.
    Both in one process, since the compiler takes seconds to load."""
    code = """
        import sys
        import torch
        import natten_mps
        from torch.utils.flop_counter import FlopCounterMode
        q = torch.randn(1, 80, 4, 32, requires_grad=True)
        first = natten_mps.na1d(q, q, q, 3)
        for keep in (False, True):
            names = [n for n in sys.modules if n.partition(".")[0] == "natten_mps"]
            kept = [sys.modules[n] for n in names if keep]
            for name in names:
                del sys.modules[name]
            del natten_mps
            import natten_mps
            assert natten_mps not in kept
            assert torch.equal(natten_mps.na1d(q, q, q, 3), first)
            with FlopCounterMode(display=False) as flops:
                natten_mps.na1d(q, q, q, 3).sum().backward()
            assert flops.get_total_flops() > 0
            torch.compiler.reset()
            compiled = torch.compile(lambda x: natten_mps.na1d(x, x, x, 3), backend="aot_eager")
            assert torch.equal(compiled(q), first)
            given = q, q, q, [3], [1], [1], [False], None
            assert torch.ops.natten_mps.na1d_fwd(*given).shape == q.shape
            print("imported again")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["imported again"] * 2
