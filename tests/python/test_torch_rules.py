"""torch's stock mappings are taken as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization as theirs

import ipex_quant
from ipex_quant import QConfig, QConfigMapping, default_static_qconfig
from ipex_quant.quantization import convert, prepare

#: torch says so of its own stock observers, those with reduce_range.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Please use quant_min and quant_max to specify the range:UserWarning"
)


class Net(nn.Module):
    """An operator for most of the rules of the stock mappings."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 2)
        self.prelu, self.norm = nn.PReLU(), nn.LayerNorm(16)
        self.fc, self.last = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.up(self.prelu(self.conv(x)))
        y = self.norm(y.mean(1).reshape(x.shape[0], -1)[:, :16])
        # Inputs far outside of 0..1, which are the outputs of a sigmoid.
        return self.last(torch.sigmoid(4 * self.fc(y)) + torch.tanh(2 * y))


X = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def net() -> nn.Module:
    torch.manual_seed(1)
    return Net().eval()


@pytest.mark.parametrize("backend", ["x86", "onednn", "fbgemm", "qnnpack"])
def test_stock_mappings(backend: str) -> None:
    ready = prepare(net(), theirs.get_default_qconfig_mapping(backend), X)
    with torch.no_grad():
        expected = ready(X)
        quantized = convert(ready)
        error = (quantized(X) - expected).norm() / expected.norm()
    assert error < 0.05  # measured 0.019 to 0.034; 0.16 with a range of the outputs
    rows = {row.module: row for row in ipex_quant.report(quantized) if row.module}
    assert {rows[m].became for m in ("conv", "up", "fc", "last")} == {"int8"}


@pytest.mark.parametrize("backend", ["x86", "onednn", "fbgemm", "qnnpack"])
def test_mappings_for_training_are_refused(backend: str) -> None:
    mapping = theirs.get_default_qat_qconfig_mapping(backend)
    with pytest.raises(ValueError, match=r"FakeQuantize is for training \(QAT\), which prepare"):
        prepare(net(), mapping, X)


def test_a_rule_that_is_not_int8_keeps_its_operator_float() -> None:
    half = theirs.float16_static_qconfig
    mapping = QConfigMapping().set_global(default_static_qconfig)
    mapping.set_object_type("add", half).set_object_type(nn.PReLU, half)
    ready = prepare(net(), mapping, X)
    ready(X)
    reasons = [row.reason for row in ipex_quant.report(convert(ready)) if row.became == "float"]
    for kind in ("add", "PReLU"):
        assert any(
            reason.startswith(f"kept float by set_object_type({kind})") for reason in reasons
        )
    with pytest.raises(ValueError, match=r"object_type .*Linear.*: dtype must be"):
        prepare(net(), mapping.set_object_type(nn.Linear, half), X)


@pytest.mark.parametrize(
    ("observer", "words"),
    [
        (theirs.RecordingObserver, "RecordingObserver gives no scale"),
        (theirs.ReuseInputObserver, "ReuseInputObserver gives no scale"),
        (theirs.PlaceholderObserver.with_args(dtype=torch.qint8), "PlaceholderObserver gives no"),
        (theirs.FakeQuantize, r"FakeQuantize is for training \(QAT\)"),
        (theirs.FusedMovingAvgObsFakeQuantize, r"is for training \(QAT\)"),
    ],
)
@pytest.mark.parametrize("part", ["activation", "weight"])
def test_observers_without_a_scale(observer: Any, words: str, part: str) -> None:
    given = QConfig(**{**default_static_qconfig._asdict(), part: observer})
    if part == "weight" and "gives no" in words:
        words = f"{words}|dtype must be torch.qint8, got torch.quint8"
    with pytest.raises(ValueError, match=f"{part} observer of .*({words})"):
        prepare(net(), given, X)
