"""The IPEX tutorial: the blocks of docs/ipex-tutorial.md run, in int8 and with the same bits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao.quantization import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    PerChannelMinMaxObserver,
)
from torch.ao.quantization import QConfig as TorchQConfig

import ipex_quant as ipex

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(
    r"^```python\n(.*?)^```$",
    (ROOT / "docs" / "ipex-tutorial.md").read_text(encoding="utf8"),
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the blocks one after the other and gives the names defined when a text was reached."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}

    def run(last: str) -> dict[str, Any]:
        for number, block in enumerate(BLOCKS):
            exec(compile(block, f"block {number}", "exec"), names)
            if last in block:
                return names
        raise AssertionError(f"no block holds {last!r}")

    return run


def kinds(module: Any) -> set[str]:
    return {n.kind() for n in module.inlined_graph.nodes() if n.kind().startswith("ipex_quant::")}


def test_static(after: Any) -> None:
    names = after("assert torch.equal(y, convert_model(x))")
    x, float_y = names["x"], names["user_model"](names["x"])
    error = (names["y"] - float_y).norm() / float_y.norm()
    assert 0 < error < 0.03
    for name in ("traced_model", "quantized_model"):
        assert {"ipex_quant::conv", "ipex_quant::linear"} <= kinds(names[name])
        assert torch.equal(names[name](x), names["y"])
    counts = ipex.report(names["convert_model"]).counts()
    assert counts["float"] == 0 and counts["int8"] >= 2
    assert (Path("configure.json")).stat().st_size > 100


def test_dynamic(after: Any) -> None:
    names = after("assert torch.equal(y, traced_model(x))")
    float_y = names["user_model"](names["x"])
    error = (names["y"] - float_y).norm() / float_y.norm()
    assert 0 < error < 0.02
    for name in ("traced_model", "quantized_model"):
        assert kinds(names[name]) == {"ipex_quant::lstm", "ipex_quant::linear_dynamic"}


def test_names_are_served_from_the_package() -> None:
    for name in ipex.quantization.__all__:
        assert getattr(ipex.quantization, name) is not None
    assert ipex.quantization.prepare is ipex.prepare


SYMMETRIC = {"qscheme": torch.per_tensor_symmetric, "dtype": torch.qint8}
AFFINE = {"qscheme": torch.per_tensor_affine, "dtype": torch.quint8}


@pytest.mark.parametrize("settings", [SYMMETRIC, AFFINE], ids=["symmetric", "affine"])
@pytest.mark.parametrize(
    "observer", [MinMaxObserver, MovingAverageMinMaxObserver, HistogramObserver]
)
@pytest.mark.parametrize(
    "weight",
    [
        PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_channel_symmetric),
        MinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric),
    ],
    ids=["per_channel", "per_tensor"],
)
def test_any_torch_observer(observer: Any, settings: dict, weight: Any, tmp_path: Path) -> None:
    """Every way of running a converted model gives the same bits."""
    model = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 8)).eval()
    qconfig = TorchQConfig(activation=observer.with_args(**settings), weight=weight)
    ready = ipex.quantization.prepare(model, qconfig, example_inputs=torch.randn(8, 24))
    x = torch.randn(64, 24)
    for _ in range(3):
        ready(x)
    converted = ipex.quantization.convert(ready)
    expected = converted(x)
    error = (expected - model(x)).norm() / model(x).norm()
    assert 0 < error < 0.05
    with torch.no_grad():
        traced = torch.jit.trace(converted, x)
        frozen = torch.jit.freeze(traced)
    frozen.save(str(tmp_path / "m.pt"))
    loaded = torch.jit.load(str(tmp_path / "m.pt"))
    again = torch.jit.freeze(loaded.eval())
    for way in (traced, frozen, loaded, again):
        assert torch.equal(way(x), expected)
        assert kinds(way) >= {"ipex_quant::linear"}
