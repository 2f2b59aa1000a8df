"""Models for the tests of users' fusions, and how those tests quantize and look at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import ipex_quant
from ipex_quant import fusion


def squareplus(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * (x + torch.sqrt(x * x + 4.0))


class Block(nn.Module):
    """conv, activation, conv"""

    def __init__(self, activation: Callable) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 16, 3, padding=1)
        self.two = nn.Conv2d(16, 8, 1)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.activation(self.one(x)))


def images(count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 3, 12, 12, generator=generator) for _ in range(count)]


def traced(model: nn.Module) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        return torch.jit.trace(model.eval(), images()[0], check_trace=False)


def quantized(model: nn.Module, *fusions: fusion.Fusion) -> Any:
    return ipex_quant.jit.quantize(traced(model), calibration_data=images(), fusions=fusions)


def kinds(module: Any) -> list[str]:
    return [n.kind() for n in module.graph.nodes() if not n.kind().startswith("prim::")]


def block(activation: Callable) -> nn.Module:
    torch.manual_seed(0)
    return Block(activation)


INT8_ONLY = ["ipex_quant::quantize_channels_last", "ipex_quant::conv", "ipex_quant::conv"]


def noise(model: nn.Module, module: Any) -> float:
    with torch.no_grad():
        want, got = model(images()[0]), module(images()[0])
    return float((want - got).norm() / want.norm())
