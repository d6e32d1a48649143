# SPDX-License-Identifier: MIT
"""Error messages of a generation for invalid arguments: a table on top of the one validator.

A row maps the kind of a Misfit (see :mod:`natten_mps._layout`; "additional" means the shape of
additional tokens) to the exception and a message template with the Misfit's facts. A template may
also use `dim`, `first` and `second`, the first dimension in which two shapes differ and its two
sizes, and `least`, the smallest entry of a window.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from natten_mps import _layout
from natten_mps._layout import Misfit
from natten_mps._operation import Operation
from natten_mps.ops import Window

_SHAPES = ("dims", "batch", "tokens", "kv_heads", "head_dim")
_NAMES = {"extra_key": "additional_keys", "extra_value": "additional_values"}


class Dialect:
    """A table, and the exception for kinds without a row, which keep the validator's message."""

    def __init__(
        self, usual: type[Exception], table: Mapping[str, str | tuple[type[Exception], str]]
    ) -> None:
        self._usual, self._table = usual, dict(table)

    def error(self, misfit: Misfit) -> Exception:
        """The exception to raise in place of a Misfit."""
        additional = str(misfit.facts.get("name", "")).startswith("extra")
        shaped = misfit.kind not in ("dtype", "device", "element", "alone")
        what = (
            "additional" if additional and shaped and "additional" in self._table else misfit.kind
        )
        row = self._table.get(what, str(misfit).replace("{", "{{").replace("}", "}}"))
        kind, text = (self._usual, row) if isinstance(row, str) else row
        return kind(text.format(**_facts(misfit.facts)))

    def check(
        self,
        op: Operation,
        inputs: Sequence[Tensor | None],
        window: Window,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """Runs the operation's checks on heads-last tensors; `shapes` replaces the shapes of some
        of them."""
        given = {n: tuple(t.shape) for n, t in zip(op.inputs, inputs, strict=True) if t is not None}
        given |= {name: tuple(shape) for name, shape in (shapes or {}).items()}
        try:
            _layout.check_kinds(op, inputs)
            _layout.layout(op, given, window, False)
        except Misfit as misfit:
            raise self.error(misfit) from None


def _facts(facts: dict[str, Any]) -> dict[str, Any]:
    found = dict(facts)
    for key in ("name", "other"):
        found[key] = _NAMES.get(facts.get(key, ""), facts.get(key))
    shapes = facts.get("shapes", {})
    pair = shapes.get(facts.get("name")), shapes.get(facts.get("other"))
    if None in pair:
        pair = facts.get("want"), facts.get("got")
    if all(isinstance(shape, tuple) for shape in pair):
        sizes = enumerate(zip(*pair, strict=False))
        different = next(((i, *two) for i, two in sizes if two[0] != two[1]), (0, *pair))
        found.update(zip(("dim", "first", "second"), different, strict=True))
    got = facts.get("got")
    found["least"] = min(got) if isinstance(got, tuple) and got else got
    return found


_ONE_DEVICE = "Expected all tensors to be on the same device, got {want} and {got}."
_MISMATCH = "Tensor shape mismatch at dimension {dim}: {first} != {second}"

#: Messages of the compiled extensions of 0.15 and 0.17.
EXTENSION = Dialect(
    RuntimeError,
    {
        "dims": "Expected {want}-D tensors, got {got}-D ({name}).",
        "device": _ONE_DEVICE,
        "dtype": "Input tensors must match in dtype! Got {want} and {got}.",
        "batch": _MISMATCH,
        "lengths": _MISMATCH,
        "head_dim": _MISMATCH,
        "kv_heads": _MISMATCH,
        "heads": "Tensor shape mismatch: {heads} heads of queries != {kv_heads} of keys.",
        "slots": "Expected attention dim was {want}, got {got}",
        "alone": (
            ValueError,
            "`additional_keys` and `additional_values` must be either both Tensors or None.",
        ),
        "additional": (
            ValueError,
            "Shape mismatch between input tensor and additional tokens; {name} has {got}, expected "
            "{want}.",
        ),
        "rpb": "Invalid bias shape at dim {dim}; expected {first}, got {second}.",
        "window": "Dilation must be a nonnegative integer, got {least}.",
        "span": "Input axes must be greater than or equal to the product of kernel size and "
        "dilation. Got kernel size {kernel}, dilation {dilation}, but dimension size was {length}.",
        "kernel": "Input axes must be greater than or equal to the product of kernel size and "
        "dilation. Got kernel size {kernel}, dilation {dilation}, but dimension size was {length}.",
    },
)

_TOO_LARGE = (
    "The product of kernel size and dilation cannot be larger than input size along any dimension, "
    "got kernel size {kernel}, dilation {dilation} and input size {length} along axis {axis}."
)

#: Messages of 0.20 and 0.21.
GENERALIZED = Dialect(
    ValueError,
    {
        "dims": "Query, key, and value must have the same rank, got {got} dimensions of {name}, "
        "expected {want}.",
        "device": "Query, key, and value must be on the same device, got {want} for {other} and "
        "{got} for {name}.",
        "dtype": "Query, key, and value must assume the same data type, got {want} for {other} and "
        "{got} for {name}.",
        "element": (
            NotImplementedError,
            "NATTEN could not find a suitable backend for this use case: {got} is not supported.",
        ),
        "batch": "Q, K, and V must match in batch size, got {got} for {name} and {want} for "
        "{other}.",
        "lengths": "Neighborhood Attention operations require Q, K, and V to match in their token "
        "layouts, got {got} for {name} and {want} for {other}.",
        "tokens": "Additional K and V must match in sequence length, got {got} for {name} and "
        "{want} for {other}.",
        "head_dim": "Head dims must match, got {got} for {name} and {want} for {other}.",
        "kv_heads": "Key and value must always have the same number of heads, got {got} for {name} "
        "and {want} for {other}.",
        "heads": "Key/value heads must evenly divide query heads, got heads_q={heads}, "
        "heads_kv={kv_heads}.",
        "alone": "`additional_keys` and `additional_values` must be either both Tensors or None.",
        "kernel": _TOO_LARGE,
        "span": _TOO_LARGE,
        "stride": "Stride cannot be larger than kernel size along any dimension, got stride "
        "{stride} and kernel size {kernel} along axis {axis}.",
    },
)
