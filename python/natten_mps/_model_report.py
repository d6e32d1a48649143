# SPDX-License-Identifier: MIT
"""What the attention layers of a model see and cost, for `natten_mps.viz.report`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from . import _operation
from ._visible import visible_keys
from .utils.window import Window

_OPERATIONS = {op.name: op for op in (_operation.ATTN, _operation.QK, _operation.AV)}


class Layer(NamedTuple):
    """One attention call of a model; layers are listed in the order of the calls."""

    name: str  # path of the innermost module that made the call
    tokens: tuple[int, ...]  # per axis
    heads: int
    kernel_size: tuple[int, ...]
    dilation: tuple[int, ...]
    is_causal: tuple[bool, ...]
    seen: float  # keys that a query sees on average, divided by the number of tokens
    reach: tuple[int, ...]  # span of the middle token's receptive field, in first-layer tokens
    receptive_field: float  # share of the first layer's tokens in the receptive field
    cost: float  # multiply-adds
    full_cost: float  # cost of full attention on the same tokens

    @property
    def share(self) -> float:
        """Cost as a fraction of the cost of full attention."""
        return self.cost / self.full_cost


class _Call(NamedTuple):
    operation: str
    name: str
    tokens: tuple[int, ...]
    heads: int
    window: Window
    samples: int
    channels: int  # multiplied for each query-key pair


class _Recorder(TorchDispatchMode):
    """Records each attention call together with the module that makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.modules: list[str] = []
        self.calls: list[_Call] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        space, _, name = func._schema.name.partition("::")
        if space == "natten_mps" and name in _OPERATIONS:
            names = (argument.name for argument in func._schema.arguments)
            self._note(name, dict(zip(names, args, strict=False)))
        return func(*args, **(kwargs or {}))

    def _note(self, name: str, given: Mapping[str, Any]) -> None:
        rule = (tuple(given[part]) for part in Window._fields[:5])
        window = Window(*rule)  # type: ignore[arg-type]  # the sixth has a default
        first, second = (given[n] for n in _OPERATIONS[name].inputs[:2])
        # The second input, which is key or, for av, value, has a row for every token.
        tokens = tuple(second.shape[2:-1] if given["heads_first"] else second.shape[1:-2])
        heads = first.shape[1 if given["heads_first"] else -2]
        channels = second.shape[-1] + (given["value"].shape[-1] if name == "attn" else 0)
        call = _Call(name, self.modules[-1], tokens, heads, window, first.shape[0], channels)
        if name == "av" and self.calls and self.calls[-1].operation == "qk":
            # The second half of an attention whose logits were recorded before.
            call = call._replace(channels=channels + self.calls.pop().channels)
        self.calls.append(call)


@contextmanager
def _watched(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Tell the recorder which module is running; keep the model in evaluation mode meanwhile."""
    training = {module: module.training for module in model.modules()}
    handles = []
    for name, module in model.named_modules():

        def enter(_module: Any, _args: Any, name: str = name or type(model).__name__) -> None:
            recorder.modules.append(name)

        def leave(_module: Any, _args: Any, _output: Any) -> None:
            recorder.modules.pop()

        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, flag in training.items():
            module.training = flag


def layers(model: nn.Module, inputs: Any) -> list[Layer]:
    """The attention layers that one call of a model computes."""
    recorder = _Recorder()
    with _watched(model, recorder), torch.no_grad(), recorder:
        model.eval()
        if isinstance(inputs, Mapping):
            model(**inputs)
        elif isinstance(inputs, tuple):
            model(*inputs)
        else:
            model(inputs)
    if not recorder.calls:
        raise ValueError(
            f"model is {type(model).__name__}, which called no neighborhood attention"
            " (want one that does, through natten_mps or natten_mps.compat)"
        )
    return list(_described(recorder.calls))


def _described(calls: Sequence[_Call]) -> Iterator[Layer]:
    """Follow the receptive field from layer to layer, one axis at a time: windows, and therefore
    receptive fields, are products over the axes."""
    first = calls[0].tokens
    fields = [torch.eye(n, dtype=torch.bool) for n in first]
    for call in calls:
        if len(call.tokens) != len(fields):
            text = f"attention over {len(fields)} and over {len(call.tokens)} axes in one model"
            raise ValueError(f"{text} (want one number of axes)")
        rule = zip(*call.window[:5], strict=True)
        seen = [_seen(n, *part) for n, part in zip(call.tokens, rule, strict=True)]
        fields = [
            (keys.float() @ _resized(field, keys.shape[1]).float()) > 0
            for keys, field in zip(seen, fields, strict=True)
        ]
        middle = [field[field.shape[0] // 2] for field in fields]
        share = prod(float(keys.double().mean()) for keys in seen)
        pairs = call.samples * call.heads * prod(k.shape[0] for k in seen) * prod(call.tokens)
        yield Layer(
            call.name,
            call.tokens,
            call.heads,
            call.window.kernel,
            call.window.dilation,
            call.window.causal,
            share,
            tuple(_span(field) for field in middle),
            prod(float(field.double().mean()) for field in middle),
            share * pairs * call.channels,
            float(pairs * call.channels),
        )


@cache
def _seen(
    length: int, kernel: int, dilation: int, stride: int, query_step: int, causal: bool
) -> Tensor:
    """[queries, keys] along one axis: which keys each query sees."""
    return visible_keys(length, kernel, dilation, stride, causal)[::query_step]


def _resized(field: Tensor, length: int) -> Tensor:
    """Resample rows to another number of tokens: fewer tokens merge rows, more repeat them."""
    if field.shape[0] == length:
        return field
    edges = torch.arange(length + 1) * field.shape[0] / length
    starts, ends = edges[:-1].floor().long(), edges[1:].ceil().long()
    rows = [field[a:b].any(0) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    return torch.stack(rows)


def _span(row: Tensor) -> int:
    places = row.nonzero().flatten()
    return int(places[-1] - places[0]) + 1


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def table(described: Sequence[Layer]) -> str:
    """The layers as text, one per line."""
    head = ("layer", "tokens", "heads", "kernel", "dilation", "sees", "receptive field", "cost")
    rows = [head]
    for layer in described:
        causal = " causal" if any(layer.is_causal) else ""
        rows.append(
            (
                layer.name,
                _by(layer.tokens),
                str(layer.heads),
                _by(layer.kernel_size) + causal,
                _by(layer.dilation),
                f"{layer.seen:.2%}",
                f"{_by(layer.reach)} ({layer.receptive_field:.1%})",
                f"{layer.cost / 1e6:.1f} M ({layer.share:.2%} of full)",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cost, full = (sum(getattr(x, name) for x in described) for name in ("cost", "full_cost"))
    total = f"{cost / 1e6:.1f} M multiply-adds, {cost / full:.2%} of full attention on these tokens"
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, total])


def draw(described: Sequence[Layer], figure: Any) -> None:
    """Draw bars of what each layer sees, of the receptive field after it, and of its cost."""
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    places = range(len(described))
    labels = []
    for layer in described:
        dilation = f", dilation {_by(layer.dilation)}" if prod(layer.dilation) > 1 else ""
        causal = ", causal" if any(layer.is_causal) else ""
        labels.append(
            f"{layer.name}\n{_by(layer.tokens)}, kernel {_by(layer.kernel_size)}{dilation}{causal}"
        )
    field = [100 * layer.receptive_field for layer in described]
    left.barh(places, field, 0.8, color="#9ecae1", label="receptive field after this layer")
    left.barh(
        places, [100 * x.seen for x in described], 0.4, color="#08519c", label="seen by one query"
    )
    left.bar_label(left.containers[0], [_by(x.reach) for x in described], padding=3, fontsize=7)
    left.set(xlabel="% of the tokens", xlim=(0, 130), xticks=range(0, 101, 25))
    left.set_yticks(places, labels, fontsize=7)
    left.set_ylim(len(described) - 0.4, -0.6)
    full = [x.full_cost / 1e6 for x in described]
    right.barh(places, full, 0.8, color="0.85", label="full attention")
    cost = [x.cost / 1e6 for x in described]
    right.barh(places, cost, 0.4, color="#006d2c", label="this layer")
    texts = [f"{x.share:.1%}" for x in described]
    right.bar_label(right.containers[1], texts, padding=3, fontsize=7)
    right.set(xscale="log", xlabel="million multiply-adds", xlim=(min(cost) / 4, 4 * max(full)))
    for axes in (left, right):
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8, frameon=False)
