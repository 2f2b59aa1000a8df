"""Fusions of the user."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant.fusion import Fusion

PATTERN = "graph(%x):\n  %y : Tensor = aten::abs(%x)\n  return (%y)"
REPLACEMENT = "graph(%x):\n  %y : Tensor = aten::positive(%x)\n  return (%y)"


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.fc(x), -1).abs()


def test_a_wrong_fusion_is_an_error() -> None:
    traced = torch.jit.trace(Model().eval(), torch.randn(2, 4))
    bad = Fusion("positive", PATTERN, "graph(%x, %z):\n  return (%x)")
    with pytest.raises(RuntimeError, match="fusion 'positive'"):
        ipex_quant.jit.quantize(traced, calibration_data=[torch.randn(16, 4)], fusions=[bad])
