"""torch.autocast around int8 modules, and around the calls that make them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import ipex_quant
from ipex_quant import default_dynamic_qconfig, default_static_qconfig, jit
from ipex_quant.quantization import convert, prepare

LAYERS = {
    "linear": lambda: nn.Linear(16, 16),
    "lstm": lambda: nn.LSTM(16, 16, batch_first=True),
    "lstm_few_inputs": lambda: nn.LSTM(16, 64, batch_first=True),
    "gru": lambda: nn.GRU(16, 16, batch_first=True),
    "rnn": lambda: nn.RNN(16, 16, batch_first=True),
    "lstm_cell": lambda: nn.LSTMCell(16, 16),
    "gru_cell": lambda: nn.GRUCell(16, 16),
    "rnn_cell": lambda: nn.RNNCell(16, 16),
}


class Net(nn.Module):
    """A convolution, which autocast runs in bfloat16, and the layer behind it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv, self.layer = nn.Conv1d(4, 4, 1), LAYERS[name]()
        self.is_cell = name.endswith("cell")

    def forward(self, x: torch.Tensor) -> Any:
        y = self.conv(x)
        return self.layer(y.flatten(0, 1) if self.is_cell else y)


def first(result: Any) -> torch.Tensor:
    return result if isinstance(result, torch.Tensor) else first(result[0])


def autocast(dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
    # Without the cache, as torch asks for traces: they would keep the casts of other calls.
    return torch.autocast("cpu", dtype=dtype, cache_enabled=False)


def model_and_input(name: str = "linear") -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Net(name).eval(), torch.randn(2, 4, 16)


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_int8_modules_take_what_autocast_gives(name: str) -> None:
    model, x = model_and_input(name)
    converted = convert(prepare(model, default_dynamic_qconfig))
    expected = first(model(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(converted)
    traced = torch.jit.trace(converted, x)
    of_graph = jit.quantize(torch.jit.trace(model, x), default_dynamic_qconfig)
    with autocast():
        cast_in_trace = torch.jit.trace(converted, x, check_trace=False)
        result = first(converted(x))
        others = [first(way(x)) for way in (traced, scripted, cast_in_trace)]
        compiled = first(of_graph(x))
    assert result.dtype == torch.float32
    assert all(torch.equal(other, result) for other in others)
    for got in (result, compiled.float()):
        assert 1e-4 < (got - expected).norm() / expected.norm() < 0.03
    assert torch.equal(first(converted(x)), first(traced(x)))  # as before, outside of autocast


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@torch.no_grad()
def test_packed_sequences_and_states(kind: Any) -> None:
    layer = kind(16, 16).eval()
    converted = convert(prepare(layer, default_dynamic_qconfig))
    packed = pack_sequence([torch.randn(n, 16) for n in (5, 3)])
    h = torch.randn(1, 2, 16)
    state = (h, h) if kind is nn.LSTM else h
    narrow = PackedSequence(packed.data.bfloat16(), packed.batch_sizes)
    low = (h.bfloat16(), h.bfloat16()) if kind is nn.LSTM else h.bfloat16()
    with autocast():
        got = converted(narrow, low)[0].data
    expected = converted(packed, state)[0].data
    assert got.dtype == torch.float32
    assert 0 < (got - expected).norm() / expected.norm() < 0.02


@torch.no_grad()
def test_float16_and_bfloat16_without_autocast() -> None:
    converted = convert(prepare(nn.Linear(16, 4).eval(), default_dynamic_qconfig))
    x = torch.randn(2, 16)
    with autocast(torch.float16):
        assert torch.equal(converted(x.half()), converted(x.half().float()))
    with pytest.raises(RuntimeError, match="x must be a Float tensor, got BFloat16"):
        converted(x.bfloat16())


@torch.no_grad()
def test_static_modules_run_under_autocast() -> None:
    model, x = model_and_input("lstm")
    mapping = ipex_quant.QConfigMapping().set_global(default_static_qconfig)
    ready = prepare(model, mapping.set_module_name("conv", None), x)
    ready(x)
    quantized = convert(ready)
    expected = first(quantized(x))
    with autocast():
        got = first(quantized(x))
    assert got.dtype == torch.float32
    assert (got - expected).norm() / expected.norm() < 0.02


@pytest.mark.parametrize("way", ["dynamic", "static", "data"])
@torch.no_grad()
def test_quantize_under_autocast_gives_the_same_module(way: str) -> None:
    model, x = model_and_input("linear")
    ready = prepare(model, default_static_qconfig, x)
    ready(x)
    arguments: dict[str, Any] = {"dynamic": {"qconfig": default_dynamic_qconfig}, "static": {}}.get(
        way, {"calibration_data": [x]}
    )
    traced = torch.jit.trace(ready if way == "static" else model, x)
    expected = jit.quantize(traced, **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quantized = jit.quantize(traced, **arguments)
    rows, others = ipex_quant.report(quantized), ipex_quant.report(expected)
    assert rows.to_dict() == others.to_dict()
    assert next(row for row in rows if row.op == "aten::linear").became == "int8"
    assert torch.equal(quantized(x), expected(x))
