# SPDX-License-Identifier: MIT
"""The proof of the window rule holds, and does not hold of rules that are wrong."""

import pytest

pytest.importorskip("z3")
pytest.importorskip("tree_sitter_go")

from symbolic import Source, UnsupportedError
from window import ROOT, Proof, ProofError, core

CORE, SHADER = "core", "shader"
TEXT = {CORE: core(), SHADER: (ROOT / "shaders/na_window.h").read_text()}

# Each is a plausible mistake in one comparison, bound or rounding.
WRONG = [
    (CORE, "if p+kernel-1 < last {", "if p+kernel-1 <= last {", "transpose"),
    (CORE, "if p+kernel-1 < last {", "if p+kernel < last {", "transpose"),
    (CORE, "if p < group-kernel {", "if p <= group-kernel {", "transpose"),
    (CORE, "p >= kernel {", "p > kernel {", "transpose"),
    (
        CORE,
        "max(leader-a.Kernel/2, 0), group-a.Kernel)",
        "max(leader-a.Kernel/2, 0), group)",
        "bounds",
    ),
    (CORE, "min(first+a.Stride-1, group-1)", "min(first+a.Stride, group-1)", "bounds"),
    (CORE, "max(w.Start, 0), w.Position+1", "max(w.Start, 0), w.Position", "bounds"),
    (CORE, "leader-a.Kernel/2", "leader-(a.Kernel-1)/2", "closest"),
    (CORE, "(a.Length - residue + a.Dilation - 1) / a.Dilation", "a.Length / a.Dilation", "groups"),
    (CORE, "index%a.QueryStep == 0", "index%a.QueryStep <= 1", "steps"),
    (CORE, "Count: (last-first)/period + 1", "Count: (last - first + 1) / period", "steps"),
    (CORE, "end := min(last, first+period-1)", "end := min(last, first+period-2)", "steps"),
    (CORE, "a.firstKey(r.AtFirst), a.lastKey(r.AtLast)+1", "first, a.lastKey(r.AtLast)+1", "reach"),
    (SHADER, "if (p < group - a.slots)", "if (p <= group - a.slots)", "equal"),
    (SHADER, "if (p >= a.slots)", "if (p >= a.slots - 1)", "equal"),
    (
        SHADER,
        "min(first + a.stride / 2, group - 1)",
        "min(first + (a.stride + 1) / 2, group - 1)",
        "equal",
    ),
    (SHADER, "if (index % a.step == 0)", "if (index % a.step < 2)", "equal"),
    (
        SHADER,
        "q.first = residue + seen.x * a.dilation",
        "q.first = residue * 4 + seen.x * a.dilation",
        "equal",
    ),
]


def prove(core: str, shader: str) -> int:
    proof = Proof(core, shader)
    proof.run(strides=3, dilations=3, steps=3)
    return proof.count


def test_the_rule_is_proved() -> None:
    assert prove(**TEXT) > 1000


@pytest.mark.parametrize(("source", "right", "wrong", "statement"), WRONG)
def test_a_wrong_rule_is_refuted(source: str, right: str, wrong: str, statement: str) -> None:
    assert TEXT[source].count(right) == 1
    with pytest.raises(ProofError, match=f"^{statement}: .*does not hold"):
        prove(**{**TEXT, source: TEXT[source].replace(right, wrong)})


def test_overflow_is_found() -> None:
    wider = TEXT[SHADER].replace("p + a.slots - 1 < last", "2 * (p + a.slots - 1) < 2 * last")
    with pytest.raises(ProofError, match=r"^overflow: .*fits 32 bits"):
        prove(TEXT[CORE], wider)


@pytest.mark.parametrize("body", ["return a << 1", "return f(a)", "for { }"])
def test_what_is_not_understood_is_refused(body: str) -> None:
    with pytest.raises(UnsupportedError):
        Source("go", f"package p\nfunc g(a int64) int64 {{ {body} }}\n", {}).call("g", 1)
