"""jit.quantize with a dynamic qconfig: traced graphs need weights only, no calibration."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QConfigMapping, default_dynamic_qconfig, default_static_qconfig
from ipex_quant.quantization import convert, prepare


class Tagger(nn.Module):
    def __init__(self, kind: Any = nn.LSTM) -> None:
        super().__init__()
        self.lstm = kind(16, 32, 2, bidirectional=True, batch_first=True)
        self.up, self.down = nn.Linear(64, 48), nn.Linear(48, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(x)
        return self.down(torch.relu(self.up(y)))


def traced(model: nn.Module, *inputs: torch.Tensor) -> Any:
    return torch.jit.trace(model.eval(), inputs)


def kinds(module: Any) -> list[str]:
    nodes = module.inlined_graph.nodes()
    return [n.kind() for n in nodes if n.kind().startswith(("ipex_quant::", "aten::"))]


@pytest.mark.parametrize(("kind", "kernel"), [(nn.LSTM, "lstm"), (nn.GRU, "gru")])
def test_a_bare_trace(kind: Any, kernel: str) -> None:
    model, x = Tagger(kind), torch.randn(2, 9, 16)
    q = ipex_quant.jit.quantize(traced(model, x), default_dynamic_qconfig)
    found = kinds(q)
    assert found.count("ipex_quant::linear_dynamic") == 2 and f"ipex_quant::{kernel}" in found
    assert "aten::relu" not in found  # it is in the epilogue of the first linear
    other = torch.randn(5, 4, 16)
    converted = convert(prepare(model, default_dynamic_qconfig))
    assert torch.equal(q(other), converted(other))
    assert 0 < (q(other) - model(other)).norm() / model(other).norm() < 0.03
    became = {row.op: row.became for row in ipex_quant.report(q)}
    assert became["aten::linear"] == became[f"aten::{kernel}"] == "int8"
    file = io.BytesIO()
    torch.jit.save(q, file)
    file.seek(0)
    assert torch.equal(torch.jit.load(file)(other), q(other))


@pytest.mark.parametrize(("cell", "op"), [(nn.LSTMCell, "lstm"), (nn.GRUCell, "gru")])
def test_cells_are_one_operator_per_step(cell: Any, op: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell(8, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h: Any = None
            for t in range(3):
                h = self.cell(x[t], h)
            return h[0] if isinstance(h, tuple) else h

    model, x = Model(), torch.randn(3, 4, 8)
    q = ipex_quant.jit.quantize(traced(model, x), default_dynamic_qconfig)
    assert kinds(q).count(f"ipex_quant::{op}") == 3 and "aten::linear" not in kinds(q)
    assert 0 < (q(x) - model(x)).abs().max() < 0.02


@pytest.mark.parametrize("kind", ["tanh", "relu"])
def test_plain_cells_are_linear_layers(kind: str) -> None:
    """A trace has the products of nn.RNNCell; its function stays float."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.RNNCell(8, 16, nonlinearity=kind)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = None
            for t in range(3):
                h = self.cell(x[t], h)
            return h

    model, x = Model(), torch.randn(3, 4, 8)
    q = ipex_quant.jit.quantize(traced(model, x), default_dynamic_qconfig)
    found = kinds(q)
    assert found.count("ipex_quant::linear_dynamic") == 6 and "aten::linear" not in found
    other = torch.randn(3, 2, 8)
    assert 0 < (q(other) - model(other)).norm() / model(other).norm() < 0.03


def test_addmm_and_residuals() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.b = nn.Parameter(torch.randn(8, 12)), nn.Parameter(torch.randn(12))
            self.fc = nn.Linear(12, 12)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.addmm(self.b, x, self.w)
            return self.fc(y) + y

    model, x = Model(), torch.randn(5, 8)
    q = ipex_quant.jit.quantize(traced(model, x), default_dynamic_qconfig)
    assert kinds(q).count("ipex_quant::linear_dynamic") == 2
    assert 0 < (q(x) - model(x)).norm() / model(x).norm() < 0.03


def test_a_prepared_trace_and_a_mapping() -> None:
    model, x = Tagger().eval(), torch.randn(2, 9, 16)
    ready = prepare(model, default_dynamic_qconfig, example_inputs=x)
    trace = traced(ready, x)
    expected = ipex_quant.jit.quantize(traced(model, x), default_dynamic_qconfig)
    assert torch.equal(ipex_quant.jit.quantize(trace, default_dynamic_qconfig)(x), expected(x))
    mapping = QConfigMapping().set_global(default_dynamic_qconfig).set_module_name("down", None)
    rows = {r.module: r for r in ipex_quant.report(ipex_quant.jit.quantize(trace, mapping))}
    assert rows["down"].became == "float" and "set_module_name('down')" in rows["down"].reason
    assert rows["up"].became == "int8"


def test_a_calibrated_trace_becomes_dynamic_on_request() -> None:
    model, x = Tagger().eval(), torch.randn(2, 9, 16)
    ready = prepare(model, default_static_qconfig, example_inputs=x)
    ready(x)
    q = ipex_quant.jit.quantize(traced(ready, x), default_dynamic_qconfig)
    assert kinds(q).count("ipex_quant::linear_dynamic") == 2


def test_what_stays_float_has_a_reason() -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3), nn.ReLU(), nn.Linear(6, 6)).eval()
    x = torch.randn(2, 4, 8)
    q = ipex_quant.jit.quantize(traced(model, x), default_dynamic_qconfig)
    rows = {r.module: r for r in ipex_quant.report(q)}
    assert rows["2"].became == "int8"
    assert "covers linear and recurrent layers" in rows["0"].reason


def test_a_trace_prepared_dynamically_keeps_the_rest_float() -> None:
    model = nn.Sequential(nn.Conv1d(4, 4, 3), nn.ReLU(), nn.Linear(6, 6)).eval()
    x = torch.randn(2, 4, 8)
    ready = prepare(model, default_dynamic_qconfig, example_inputs=x)
    ready(x)
    q = ipex_quant.jit.quantize(traced(ready, x))
    rows = {r.module: r for r in ipex_quant.report(q)}
    assert rows["2"].became == "int8"
    assert rows["0"].became == "float"
    assert "covers linear and recurrent layers" in rows["0"].reason


def test_data_and_a_dynamic_qconfig_exclude_each_other() -> None:
    trace = traced(nn.Linear(4, 4), torch.randn(2, 4))
    with pytest.raises(ValueError, match="calibration_data or a dynamic qconfig, not both"):
        ipex_quant.jit.quantize(trace, default_dynamic_qconfig, calibration_data=[torch.ones(1, 4)])
