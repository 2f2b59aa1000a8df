"""Linear layers that take a scale per row at run time, by the default recipe."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QConfig, default_static_qconfig, observers
from site_entries import summary


def outliers(call: int) -> torch.Tensor:
    """One row with a large value, in another column in each call, that small weights meet."""
    x = torch.randn(64, 64, generator=torch.Generator().manual_seed(call))
    x[0, call % 8] = 300
    return x


class Readers(nn.Module):
    """Two linear layers that read one value; ``factor`` makes the second listen to the outliers."""

    def __init__(self, factor: float = 0.1) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 32), nn.Linear(64, 32)
        with torch.no_grad():
            self.a.weight[:, :8] *= 0.1
            self.b.weight[:, :8] *= factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x) + self.b(x)


def test_linear_layers_take_a_scale_per_row_where_that_is_clearly_better() -> None:
    torch.manual_seed(0)
    model = Readers()
    data = [outliers(call) for call in range(4)]
    found = summary(model, data)
    for name in "ab":
        operand = found[f"{name}/linear/0"]["operands"]["input"]
        assert (operand["mode"], operand["scale"]) == ("dynamic", None)
    fixed = QConfig(observers.MinMaxObserver, observers.PerChannelMinMaxObserver)
    errors = []
    for qconfig in (default_static_qconfig, fixed):
        ready = ipex_quant.prepare(model.eval(), qconfig, data[0])
        for x in data:
            ready(x)
        int8, x = ipex_quant.convert(ready), outliers(9)
        with torch.no_grad():
            errors.append(float((int8(x) - model(x)).norm() / model(x).norm()))
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize(
    ("model", "qconfig"),
    [
        (Readers(30.0), default_static_qconfig),
        (Readers(), QConfig(observers.MinMaxObserver, observers.WeightObserver)),
        (Readers(), ipex_quant.quantization.get_smooth_quant_qconfig_mapping()),
    ],
    ids=["where one reader gains nothing", "not with a given observer", "not with SmoothQuant"],
)
def test_other_linear_layers_keep_the_fixed_scale(model: nn.Module, qconfig: Any) -> None:
    for entry in summary(model, [outliers(call) for call in range(4)], qconfig).values():
        for name, operand in entry["operands"].items():
            assert name == "weight" or operand.get("mode", "static") == "static"
