"""mode="portable" of recurrent layers and cells: int8's numbers, and the way back to its bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import ipex_quant
from ipex_quant import jit
from portable_files import check_alone

TIME, BATCH = 5, 3


class Layer(nn.Module):
    """A recurrent layer that gives its states, and a linear layer."""

    def __init__(self, kind: type[nn.RNNBase], features: int = 8, **arguments: Any) -> None:
        super().__init__()
        self.rnn = kind(features, 16, **arguments)
        self.out = nn.Linear(32 if self.rnn.bidirectional else 16, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y, states = self.rnn(x.transpose(0, 1) if self.rnn.batch_first else x)
        return self.out(y), *(states if isinstance(states, tuple) else (states,))


class Packed(Layer):
    """The same on sequences of 5, 3 and 1 steps."""

    lengths = torch.tensor([5, 3, 1])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        packed = pack_padded_sequence(x, self.lengths)
        y, states = self.rnn(packed)
        padded, _ = pad_packed_sequence(y)
        return self.out(padded), *(states if isinstance(states, tuple) else (states,))


class Cells(nn.Module):
    """Three steps of a cell, and a linear layer."""

    def __init__(self, kind: type[nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell, self.out = kind(8, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        state: Any = None
        for t in range(3):
            state = self.cell(x[t], state)
        return self.out(state[0] if isinstance(state, tuple) else state), state[0]


def steps(seed: int, features: int = 8) -> torch.Tensor:
    """Rows of very different sizes, and one of zeros."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(TIME, BATCH, features, generator=generator)
    x *= torch.exp2(torch.linspace(-3, 2, TIME * BATCH)).view(TIME, BATCH, 1)
    x[1, 1] = 0
    return x


DEEP = {"num_layers": 2, "bidirectional": True}
#: Narrow input is rounded to 16 bits, and narrower one has its weights in two parts.
MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    f"{kind.__name__}-{name}": (partial(make, kind, features, **arguments), features)
    for kind in (nn.LSTM, nn.GRU)
    for name, make, features, arguments in [
        ("plain", Layer, 8, {}),
        ("wide", Layer, 24, {}),
        ("narrow", Layer, 2, {}),
        ("deep", Layer, 8, {**DEEP, "batch_first": True}),
        ("unbiased", Layer, 8, {"bias": False}),
        ("packed", Packed, 8, DEEP),
    ]
}
MODELS |= {k.__name__: (partial(Cells, k), 8) for k in (nn.LSTMCell, nn.GRUCell, nn.RNNCell)}

QCONFIGS = {
    "static": ipex_quant.default_static_qconfig,
    "dynamic": ipex_quant.default_dynamic_qconfig,
}


def traced(model: nn.Module, qconfig: Any, data: Callable[[int], torch.Tensor]) -> Any:
    prepared = ipex_quant.prepare(model, qconfig, data(0))
    for seed in range(4):
        prepared(data(seed))
    return torch.jit.trace(prepared, data(0))


def make(name: str) -> tuple[nn.Module, Callable[[int], torch.Tensor]]:
    torch.manual_seed(0)
    build, features = MODELS[name]
    return build().eval(), partial(steps, features=features)


def kernels(module: Any) -> list[str]:
    return [n.kind() for n in module.graph.nodes() if n.kind().startswith("ipex_quant::")]


def worst(ours: tuple[torch.Tensor, ...], theirs: tuple[torch.Tensor, ...]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


@pytest.mark.parametrize("qconfig", QCONFIGS)
@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_are_those_of_int8_and_lead_back_to_its_bits(
    name: str, qconfig: str, tmp_path: Path
) -> None:
    model, data = make(name)
    trace = traced(model, QCONFIGS[qconfig], data)
    int8, portable = jit.quantize(trace), jit.quantize(trace, mode="portable")
    assert kernels(int8)
    assert not kernels(portable)
    portable.save(tmp_path / "p.pt")
    loaded = torch.jit.load(tmp_path / "p.pt")
    bound = jit.quantize(loaded)
    assert sorted(kernels(bound)) == sorted(kernels(int8))
    frozen = torch.jit.freeze(loaded.eval())
    with torch.no_grad():
        for seed in (9, 10, 11):
            x = data(seed)
            ours, theirs = int8(x), portable(x)
            # Both round to the same codes: 2e-7 apart; int8 is 0.002 and more from float.
            assert worst(theirs, ours) < 1e-6
            assert worst(ours, model(x)) > 1e-3
            assert worst(frozen(x), ours) < 1e-6
            torch.testing.assert_close(loaded(x), theirs, rtol=0, atol=0)
            torch.testing.assert_close(bound(x), ours, rtol=0, atol=0)


@pytest.mark.parametrize("qconfig", QCONFIGS)
def test_the_report_says_what_it_is(qconfig: str) -> None:
    model, data = make("LSTM-plain")
    portable = jit.quantize(traced(model, QCONFIGS[qconfig], data), mode="portable")
    rows = {row.op: row for row in ipex_quant.report(portable)}
    for op in ("aten::lstm", "aten::linear"):
        assert rows[op].became == "float"
        assert rows[op].reason == (
            "portable: float32 arithmetic on values rounded as int8 rounds them"
        )


def test_two_files_in_one_model_are_read_back(tmp_path: Path) -> None:
    """torch names the functions of the second file otherwise."""
    model, data = make("GRU-plain")
    trace = traced(model, ipex_quant.default_static_qconfig, data)
    int8, path = jit.quantize(trace), tmp_path / "p.pt"
    jit.quantize(trace, mode="portable").save(path)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.jit.load(path), torch.jit.load(path)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.a(x)[0], self.b(-x)[0]

    x = data(9)
    torch.jit.trace(Two().eval(), x).save(tmp_path / "two.pt")
    bound = jit.quantize(torch.jit.load(tmp_path / "two.pt"))
    assert kernels(bound) == kernels(int8) * 2
    torch.testing.assert_close(bound(x), (int8(x)[0], int8(-x)[0]), rtol=0, atol=0)


def test_rows_that_others_read_stay_rounded_in_float(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trace = torch.jit.trace(nn.Linear(8, 8).eval(), steps(0))
    portable = jit.quantize(trace, ipex_quant.default_dynamic_qconfig, mode="portable")
    portable.save(tmp_path / "p.pt")
    loaded = torch.jit.load(tmp_path / "p.pt")
    graph = loaded.graph
    rows = next(n for n in graph.nodes() if n.kind() == "prim::CallFunction")
    linear = next(graph.outputs())
    graph.setInsertPoint(graph.return_node())
    one = graph.insertConstant(1)
    total = graph.insertNode(graph.create("aten::add", [rows.output(), linear, one], 1))
    graph.eraseOutput(0)
    graph.registerOutput(total.output())
    bound = jit.quantize(loaded)
    assert [row.became for row in ipex_quant.report(bound) if row.op == "aten::linear"] == ["float"]
    x = steps(9)
    torch.testing.assert_close(bound(x), loaded(x))
    assert float((bound(x) - portable(x) - x).abs().max()) > 1e-3  # the rows are rounded


@pytest.mark.parametrize("kind", [nn.LSTM, nn.Linear])
def test_convert_makes_dynamic_models_portable(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = kind(8, 16).eval()
    prepared = ipex_quant.prepare(model, ipex_quant.default_dynamic_qconfig, steps(0))
    prepared(steps(1))
    int8 = jit.quantize(torch.jit.trace(prepared, steps(0)))
    portable = ipex_quant.convert(prepared, mode="portable")
    assert not kernels(portable.compiled)
    torch.testing.assert_close(portable(steps(9)), int8(steps(9)), rtol=1e-5, atol=1e-6)


def test_a_portable_model_needs_a_trace() -> None:
    prepared = ipex_quant.prepare(nn.Linear(8, 4).eval(), ipex_quant.default_dynamic_qconfig)
    with pytest.raises(ValueError, match="mode='portable' needs a trace, and this model was"):
        ipex_quant.convert(prepared, mode="portable")


@pytest.mark.slow
def test_it_runs_without_the_package(tmp_path: Path) -> None:
    model, data = make("LSTM-packed")
    trace = traced(model, ipex_quant.default_dynamic_qconfig, data)
    check_alone(jit.quantize(trace, mode="portable"), data(9), tmp_path)
