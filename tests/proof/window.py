#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Proves the window rule of core/window.go, core/range.go and shaders/na_window.h with z3.

    window.py [--shader FILE] [--stride N] [--dilation N] [--step N]

The formulas are made from the two sources themselves (symbolic.py). Each statement is proved for
every length and kernel that Axis.Normalize admits (to 2^60 in Go; in Metal while length + query
step stays below 2^30, as core/metal demands), every query and every key, causal or not. Strides,
dilations and query steps are numbers up to the bounds given, since products of two unknowns are
beyond z3.

Within one dilation group, for each stride:

    bounds      a window lies within the group and holds its own query; it has as many keys as the
                kernel, or, if causal, ends with the query; slots cover it; the index of a relative
                position bias entry lies in [0, 2 * kernel - 2]
    closest     without stride and causality no other window of that size is more centered
    monotone    the windows of later queries neither start nor end earlier
    transpose   seenBy(key) is exactly the interval of the queries whose window holds the key
    equal       Go and Metal give the same windows and intervals
    reach       the keys that a range of queries needs hold all that any of them sees, and no fewer
                would do: queries of the range see the first and the last
    overflow    no intermediate result leaves 64 bits (Go) or 32 bits (Metal); divisors are positive

For dilation groups and query steps, whatever interval seenBy gives:

    groups      GroupLength counts the positions of a group, and the kernel fits each; the window on
                the axis is the window within the group
    steps       Inverse lists an output exactly if its query lies in the key's group and interval
    equal, overflow   as above

Not proved: strides, dilations and steps beyond the bounds and what ranges of several dilation
groups need (core/window_test.go and core/range_test.go sample them), the offsets of tensors, and
that kernels apply the rule rightly (the conformance tests run them).

Exits with 1, and with a counterexample, if a statement does not hold or is not decided.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import z3

from symbolic import Source, Trace, Value, integer

ROOT = Path(__file__).resolve().parents[2]
GO_LENGTH = 2**60
METAL_REACH = 2**30 - 1  # largest length + query step
REACH_STRIDES = 3  # largest stride for which the keys of a range are proved; this takes seconds
EFFORT = 20_000_000  # z3's resource units for one formula; the same on every machine

STRUCTS = {
    "Window": ["Residue", "Position", "Start", "Lo", "Hi"],
    "Queries": ["First", "Step", "Count"],
    "Reach": ["First", "End", "AtFirst", "AtLast"],
    "NaReach": ["start", "lo", "hi"],
    "NaQueries": ["first", "step", "count"],
}


class ProofError(Exception):
    """A statement that does not hold, or that z3 did not decide."""


@dataclass(frozen=True)
class Rule:
    """What is a number in one proof."""

    stride: int = 1
    dilation: int = 1
    step: int = 1
    causal: bool = False
    mask_first: bool = False


class Axis:
    """One axis of unknown length and kernel, as both languages have it."""

    def __init__(self, rule: Rule, longest: int) -> None:
        self.rule = rule
        self.length, self.kernel = z3.Ints("length kernel")
        self.known = [
            self.length >= 1,
            self.length <= longest,
            self.kernel >= 1,
            self.kernel * rule.dilation <= self.length,
            rule.stride <= self.kernel,
            rule.step <= self.length,
        ]
        self.go: Value = {
            "Length": self.length,
            "Kernel": self.kernel,
            "Dilation": integer(rule.dilation),
            "Stride": integer(rule.stride),
            "QueryStep": integer(rule.step),
            "Causal": z3.BoolVal(rule.causal),
            "MaskFirst": z3.BoolVal(rule.mask_first),
            **dict.fromkeys(("QueryFirst", "QueryCount", "KeyFirst", "KeyCount"), integer(0)),
        }
        self.metal: Value = {
            "length": self.length,
            "slots": self.kernel,
            "dilation": integer(rule.dilation),
            "stride": integer(rule.stride),
            "step": integer(rule.step),
            "causal": integer(int(rule.causal)),
            "mask_first": integer(int(rule.mask_first)),
        }

    def index(self, name: str, end: z3.ArithRef | None = None) -> z3.ArithRef:
        """An unknown in [0, end), of the axis unless said otherwise."""
        x = z3.Int(name)
        self.known += [x >= 0, x < (self.length if end is None else end)]
        return x

    def interval(self, group: z3.ArithRef) -> list[z3.ArithRef]:
        """First and last position of some interval of a group, as seenBy gives one."""
        first, last = z3.Ints("first last")
        self.known += [first >= 0, first <= last, last < group]
        return [first, last]


class Proof:
    """The statements about one pair of sources, and how many formulas have been proved."""

    def __init__(self, core: str, shader: str) -> None:
        self.go = Source("go", core, STRUCTS)
        self.metal = Source("metal", shader, STRUCTS)
        self.count = 0
        self.rule = Rule()

    def prove(self, name: str, known: list[z3.BoolRef], claim: z3.BoolRef) -> None:
        solver = z3.Solver()
        solver.set("rlimit", EFFORT)
        solver.add(*known, z3.Not(claim))
        answer = solver.check()
        if answer == z3.sat:
            raise ProofError(f"{name} ({self.rule}): does not hold, {solver.model()}")
        if answer != z3.unsat:
            raise ProofError(f"{name} ({self.rule}): not decided, {solver.reason_unknown()}")
        self.count += 1

    def run(self, strides: int, dilations: int, steps: int) -> None:
        self.closest()
        for self.rule in rules(strides):
            self.bounds()
            self.monotone()
            self.transpose()
            self.equal()
            self.overflow()
        for dilation, step in itertools.product(range(1, dilations + 1), range(1, steps + 1)):
            self.rule = Rule(dilation=dilation, step=step)
            self.groups()
            self.steps()
            self.equal_steps()
            self.overflow_steps()
        for self.rule in rules(min(strides, REACH_STRIDES)):
            self.reach()

    # ------------------------------------------------- within one group

    def bounds(self) -> None:
        a = Axis(self.rule, GO_LENGTH)
        query = a.index("query")
        w = self.go.call("Window", a.go, query)
        start, lo, hi = w["Start"], w["Lo"], w["Hi"]
        inside = z3.And(lo >= 0, lo <= query, query < hi, hi <= a.length)
        self.prove("bounds: 0 <= lo <= query < hi <= length", a.known, inside)
        covered = z3.And(start <= lo, hi <= start + a.kernel)
        self.prove("bounds: the slots cover the window", a.known, covered)
        if self.rule.causal:
            self.prove("bounds: the query is the last key", a.known, hi == query + 1)
        else:
            self.prove("bounds: hi - lo = kernel", a.known, hi - lo == a.kernel)
        if not self.rule.mask_first:
            self.prove("bounds: slots begin with the window", a.known, start == lo)
        key = a.index("key")
        entry = key - query + a.kernel - 1
        known = [*a.known, lo <= key, key < hi]
        fits = z3.And(entry >= 0, entry <= 2 * a.kernel - 2)
        self.prove("bounds: 0 <= bias entry <= 2 * kernel - 2", known, fits)

    def closest(self) -> None:
        a = Axis(self.rule, GO_LENGTH)
        query, other = a.index("query"), a.index("other")
        start = self.go.call("Window", a.go, query)["Start"]
        ideal = query - a.kernel / 2  # kernel / 2 keys come before the query
        known = [*a.known, other + a.kernel <= a.length]
        claim = z3.Abs(start - ideal) <= z3.Abs(other - ideal)
        self.prove("closest: no window of that size is more centered", known, claim)

    def monotone(self) -> None:
        a = Axis(self.rule, GO_LENGTH)
        query = a.index("query")
        now, after = (self.go.call("Window", a.go, q) for q in (query, query + 1))
        claim = z3.And(now["Lo"] <= after["Lo"], now["Hi"] <= after["Hi"])
        known = [*a.known, query + 1 < a.length]
        self.prove("monotone: starts and ends never decrease", known, claim)

    def transpose(self) -> None:
        a = Axis(self.rule, GO_LENGTH)
        key = a.index("key")
        first, last = self.go.call("seenBy", a.go, key, a.length)
        own = z3.And(first >= 0, first <= key, key <= last, last < a.length)
        self.prove("transpose: the key's own query is in the interval", a.known, own)
        query = a.index("query")
        w = self.go.call("Window", a.go, query)
        listed = z3.And(first <= query, query <= last)
        sees = z3.And(w["Lo"] <= key, key < w["Hi"])
        self.prove("transpose: the interval is who sees the key", a.known, listed == sees)

    def equal(self) -> None:
        a = Axis(self.rule, METAL_REACH - self.rule.step)
        x = a.index("x")
        ours = self.go.call("Window", a.go, x)
        theirs = self.metal.call("na_reach", a.metal, a.length, x)
        same = [ours[name] == theirs[name.lower()] for name in ("Start", "Lo", "Hi")]
        self.prove("equal: windows", a.known, z3.And(*same))
        pairs = zip(
            self.go.call("seenBy", a.go, x, a.length),
            self.metal.call("na_seen_by", a.metal, a.length, x),
            strict=True,
        )
        self.prove("equal: intervals", a.known, z3.And(*(g == m for g, m in pairs)))

    def overflow(self) -> None:
        a, trace = Axis(self.rule, GO_LENGTH), Trace()
        x = a.index("x")
        self.go.call("Window", a.go, x, trace=trace)
        self.go.call("seenBy", a.go, x, a.length, trace=trace)
        self.fits(64, a.known, trace)
        a, trace = Axis(self.rule, METAL_REACH - self.rule.step), Trace()
        x = a.index("x")
        self.metal.call("na_reach", a.metal, a.length, x, trace=trace)
        self.metal.call("na_seen_by", a.metal, a.length, x, trace=trace)
        self.fits(32, a.known, trace)

    def fits(self, bits: int, known: list[z3.BoolRef], trace: Trace) -> None:
        end = 2 ** (bits - 1)
        for condition, value, text in trace.results:
            claim = z3.And(value >= -end, value < end)
            self.prove(f"overflow: {text} fits {bits} bits", [*known, condition], claim)
        for condition, value, text in trace.divisors:
            self.prove(f"overflow: {text} divides by > 0", [*known, condition], value > 0)

    # -------------------------------------------- groups and query steps

    def groups(self) -> None:
        dilation = self.rule.dilation
        a = Axis(self.rule, GO_LENGTH)
        residue = a.index("residue", integer(dilation))
        group = self.go.call("GroupLength", a.go, residue)
        self.prove("groups: the kernel fits each group", a.known, a.kernel <= group)
        p = z3.Int("p")
        on = residue + p * dilation < a.length
        self.prove("groups: the length counts positions", [*a.known, p >= 0], (p < group) == on)
        query = a.index("query")
        known = [*a.known, residue == query % dilation]
        w = self.go.call("Window", a.go, query)
        place = z3.And(w["Residue"] == residue, w["Position"] == query / dilation)
        self.prove("groups: the query's place", known, place)
        within = {**a.go, "Length": group, "Dilation": integer(1)}
        v = self.go.call("Window", within, query / dilation)
        same = z3.And(*(w[name] == v[name] for name in ("Start", "Lo", "Hi")))
        self.prove("groups: the window is that within the group", known, same)

    def steps(self) -> None:
        rule = self.rule
        a = Axis(rule, GO_LENGTH)
        key = a.index("key")
        interval = first, last = a.interval(self.go.call("GroupLength", a.go, key % rule.dilation))
        q = self.go.call("Inverse", a.go, key, given={"seenBy": interval})
        outputs = self.go.call("Outputs", a.go)
        signs = z3.And(q["Step"] >= 1, q["Count"] >= 0)
        self.prove("steps: steps are positive, counts not negative", a.known, signs)
        end = q["First"] + (q["Count"] - 1) * q["Step"]
        inside = z3.And(q["First"] >= 0, end < outputs)
        self.prove("steps: outputs exist", [*a.known, q["Count"] > 0], inside)
        out = a.index("out", outputs)
        query, back = out * rule.step, out - q["First"]
        position = query / rule.dilation
        same_group = query % rule.dilation == key % rule.dilation
        sees = z3.And(same_group, first <= position, position <= last)
        listed = z3.And(back >= 0, back % q["Step"] == 0, back / q["Step"] < q["Count"])
        # Treating remainders as cases spares z3 most of the search.
        period = rule.step // math.gcd(rule.step, rule.dilation)
        moduli = {key: rule.dilation, out: rule.dilation, first: period}
        for rests in itertools.product(*map(range, moduli.values())):
            case = [
                x == n * z3.Int(f"{x}/{n}") + r
                for (x, n), r in zip(moduli.items(), rests, strict=True)
            ]
            self.prove("steps: who is listed sees the key", a.known + case, sees == listed)

    def reach(self) -> None:
        a, trace = Axis(self.rule, GO_LENGTH), Trace()
        first, last, query = a.index("first"), a.index("last"), a.index("query")
        known = [*a.known, first <= last]
        r = self.go.call("Reach", a.go, first, last, trace=trace)
        keys = [self.go.call(name, a.go, query) for name in ("firstKey", "lastKey")]
        inside = z3.And(r["First"] <= keys[0], keys[1] < r["End"])
        within = [*known, first <= query, query <= last]
        self.prove("reach: what a query of the range sees is inside", within, inside)
        ends = [(r["AtFirst"], "firstKey", r["First"]), (r["AtLast"], "lastKey", r["End"] - 1)]
        for at, name, key in ends:
            claim = z3.And(first <= at, at <= last, self.go.call(name, a.go, at) == key)
            self.prove(f"reach: a query of the range sees its {name}", known, claim)
        self.fits(64, known, trace)

    def equal_steps(self) -> None:
        a = Axis(self.rule, METAL_REACH - self.rule.step)
        key = a.index("key")
        residue = key % self.rule.dilation
        group = self.go.call("GroupLength", a.go, residue)
        theirs = self.metal.call("na_group_length", a.metal, a.length, residue)
        self.prove("equal: group lengths", a.known, group == theirs)
        interval = a.interval(group)
        g = self.go.call("Inverse", a.go, key, given={"seenBy": interval})
        m = self.metal.call("na_inverse", a.metal, a.length, key, given={"na_seen_by": interval})
        same = z3.And(g["First"] == m["first"], g["Step"] == m["step"])
        claim = z3.And(g["Count"] == m["count"], z3.Implies(g["Count"] > 0, same))
        self.prove("equal: outputs", a.known, claim)

    def overflow_steps(self) -> None:
        dilation = self.rule.dilation
        for bits, longest in ((64, GO_LENGTH), (32, METAL_REACH - self.rule.step)):
            a, trace = Axis(self.rule, longest), Trace()
            key = a.index("key")
            interval = a.interval(self.go.call("GroupLength", a.go, key % dilation))
            if bits == 64:
                self.go.call("Outputs", a.go, trace=trace)
                given = {"seenBy": interval}
                self.go.call("Inverse", a.go, key, trace=trace, given=given)
            else:
                given = {"na_seen_by": interval}
                self.metal.call("na_inverse", a.metal, a.length, key, trace=trace, given=given)
            self.fits(bits, a.known, trace)


def core() -> str:
    """The two Go files as one."""
    window, ranges = ((ROOT / "core" / name).read_text() for name in ("window.go", "range.go"))
    return window + ranges.replace("package core\n", "")


def rules(strides: int) -> Iterator[Rule]:
    for stride in range(1, strides + 1):
        yield Rule(stride)
        for mask_first in (False, True):
            yield Rule(stride, causal=True, mask_first=mask_first)


def main() -> int:
    parser = argparse.ArgumentParser(description="Proves the window rule.")
    parser.add_argument("--shader", type=Path, default=ROOT / "shaders/na_window.h")
    parser.add_argument("--stride", type=int, default=32, help="largest stride")
    parser.add_argument("--dilation", type=int, default=8, help="largest dilation")
    parser.add_argument("--step", type=int, default=6, help="largest query step")
    args = parser.parse_args()
    started = time.monotonic()
    proof = Proof(core(), args.shader.read_text())
    try:
        proof.run(args.stride, args.dilation, args.step)
    except ProofError as failure:
        print(failure)
        return 1
    print(f"{proof.count} formulas proved in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
