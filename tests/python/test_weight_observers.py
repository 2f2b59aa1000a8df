"""A weight observer that gives other scales than the kernels need is an error of prepare."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.ao.quantization import PerChannelMinMaxObserver

from ipex_quant import (
    QConfigMapping,
    default_dynamic_qconfig,
    default_static_qconfig,
    jit,
    observers,
)
from ipex_quant.quantization import convert, get_smooth_quant_qconfig_mapping, prepare

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(3))
SYMMETRIC = {"dtype": torch.qint8, "qscheme": torch.per_channel_symmetric}


class Tripled:
    """Somebody's own observer with a mistake."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.scale = (x.abs().flatten(1).amax(1) / 127).repeat(3)
        return x

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.scale, torch.zeros_like(self.scale)


def nested() -> nn.Module:
    return nn.Sequential(nn.Sequential(nn.Linear(8, 8)), nn.Linear(8, 8)).eval()


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (
            PerChannelMinMaxObserver.with_args(ch_axis=1, **SYMMETRIC),
            r"weight observer of '0.0' \(set_module_name\('0'\)\): PerChannelMinMaxObserver "
            "observes ch_axis 1;",
        ),
        (observers.WeightObserver.with_args(ch_axis=1), "WeightObserver observes ch_axis 1;"),
        (Tripled, r"weight observer of '0.0' .*: Tripled gave 24 scales for 8 output channels"),
    ],
)
@pytest.mark.parametrize(
    ("default", "example"),
    [(default_static_qconfig, X), (default_dynamic_qconfig, None), (default_dynamic_qconfig, X)],
)
def test_wrong_scales(weight: Any, words: str, default: Any, example: Any) -> None:
    mapping = QConfigMapping().set_global(default)
    mapping.set_module_name("0", default._replace(weight=weight))
    with pytest.raises(ValueError, match=words):
        prepare(nested(), mapping, example)


def test_a_trace() -> None:
    weight = PerChannelMinMaxObserver.with_args(ch_axis=1, **SYMMETRIC)
    traced = torch.jit.trace(nested(), X)
    with pytest.raises(ValueError, match=r"of '0.0' \(set_global\): PerChannelMinMaxObserver obs"):
        jit.quantize(traced, default_static_qconfig._replace(weight=weight), calibration_data=[X])


def test_the_observer_of_smooth_quant() -> None:
    weight = PerChannelMinMaxObserver.with_args(ch_axis=1, **SYMMETRIC)
    with pytest.raises(ValueError, match=r"of '0.0' \(set_global\): PerChannelMinMaxObserver obs"):
        prepare(nested(), get_smooth_quant_qconfig_mapping(wei_observer=weight), X)


def test_right_scales() -> None:
    conv = nn.Sequential(nn.ConvTranspose2d(4, 6, 2, groups=2), nn.Conv2d(6, 3, 1)).eval()
    x = torch.randn(2, 4, 5, 5)
    for axis in (0, -4):
        weight = PerChannelMinMaxObserver.with_args(ch_axis=axis, **SYMMETRIC)
        ready = prepare(conv, default_static_qconfig._replace(weight=weight), x)
        ready(x)
        assert (convert(ready)(x) - ready(x)).abs().max() < 0.1
