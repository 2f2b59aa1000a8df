"""report(): the rows of ops that a user keeps float, in all of its forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QConfigMapping, default_static_qconfig

WHERE = "computed in float32 in the epilogue of aten::linear 0 of 'wide'"


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(8, 32)
        self.activation = nn.GELU()
        self.narrow = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.narrow(self.activation(self.wide(x)))


def prepared(mapping: Any = default_static_qconfig) -> Any:
    torch.manual_seed(0)
    x = torch.randn(16, 8)
    ready = ipex_quant.prepare(Model().eval(), mapping, x)
    for _ in range(3):
        ready(torch.randn(16, 8))
    return ready


def quantized(ready: Any) -> Any:
    with torch.no_grad():
        return ipex_quant.jit.quantize(torch.jit.trace(ready, torch.randn(16, 8)))


def row(module: Any) -> Any:
    (found,) = [r for r in ipex_quant.report(module) if r.module == "activation"]
    return found


@pytest.fixture(scope="module")
def by_mapping() -> Any:
    mapping = QConfigMapping().set_global(default_static_qconfig)
    return quantized(prepared(mapping.set_module_name("activation", None)))


def test_int8_unless_told_otherwise() -> None:
    found = row(quantized(prepared()))
    assert (found.became, found.reason) == ("int8", "")


def test_kept_by_a_mapping(by_mapping: Any) -> None:
    found = row(by_mapping)
    assert found.became == "float"
    assert found.reason == f"kept float by set_module_name('activation'); {WHERE}"
    assert found.kernel.startswith("ipex_quant::linear [gelu|quantize(")


@pytest.mark.parametrize("reason", ["", "too steep"])
def test_kept_by_an_edited_summary(tmp_path: Path, reason: str) -> None:
    ready, path = prepared(), tmp_path / "summary.json"
    ready.save_qconf_summary(str(path))
    summary = json.loads(path.read_text(encoding="utf8"))
    (entry,) = [e for e in summary["sites"] if e["site"] == "activation/gelu/0"]
    entry.update(decision="float", reason=reason)
    path.write_text(json.dumps(summary), encoding="utf8")
    ready.load_qconf_summary(str(path))
    found = row(quantized(ready))
    assert found.became == "float"
    assert found.reason == f"{reason or 'kept float by the summary'}; {WHERE}"


def test_kept_by_the_recipe() -> None:
    """An activation that was zero throughout calibration has no range."""
    ready = ipex_quant.prepare(Model().eval(), default_static_qconfig, torch.zeros(2, 8))
    with torch.no_grad():
        ready.wide.weight.zero_()
        ready.wide.bias.zero_()
    ready(torch.randn(2, 8))
    found = row(quantized(ready))
    assert found.became == "float"
    assert found.reason == f"operand 'input' was zero throughout calibration; {WHERE}"


def test_counts_and_json_agree(by_mapping: Any) -> None:
    data = json.loads(ipex_quant.report(by_mapping).to_json())
    assert data["counts"] == {"int8": 2, "pass_through": 0, "removed": 0, "integer": 0, "float": 1}
    (found,) = [r for r in data["ops"] if r["module"] == "activation"]
    assert found["reason"].endswith(WHERE)


def test_table_shows_the_reason_whole(by_mapping: Any) -> None:
    text = str(ipex_quant.report(by_mapping))
    words = " ".join(text.replace("│", " ").split())
    assert "1 float" in text
    for word in row(by_mapping).reason.split():
        assert word in words


def test_a_float_cat_of_a_loaded_trace_is_no_integer(tmp_path: Path) -> None:
    """A saved trace has no dtypes."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor, ids: torch.Tensor) -> Any:
            y = self.linear(x)
            more = torch.cat([ids.eq(0), ids.eq(1)])
            return torch.cat([y.exp(), y.sin()]).masked_fill(more.unsqueeze(1), 0)

    torch.manual_seed(0)
    x, ids = torch.randn(4, 8), torch.arange(4)
    torch.jit.trace(Net().eval(), (x, ids)).save(tmp_path / "t.pt")
    mapping = QConfigMapping().set_global(default_static_qconfig)
    module = ipex_quant.jit.quantize(
        torch.jit.load(tmp_path / "t.pt"),
        mapping.set_object_type(torch.cat, None),
        calibration_data=[(x, ids)],
    )
    cats = [r.became for r in ipex_quant.report(module) if r.op == "aten::cat"]
    assert cats == ["integer", "float"]
