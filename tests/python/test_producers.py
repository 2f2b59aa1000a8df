"""Factors per channel end up in the constants of layer norms, linears and multiplications."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant.quantization import convert, get_smooth_quant_qconfig_mapping, prepare


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.linspace(0.1, 20, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain


class Net(nn.Module):
    """A producer, two linear layers that read it, and perhaps a third reader."""

    def __init__(self, producer: nn.Module, residual: bool = False) -> None:
        super().__init__()
        self.producer, self.residual = producer, residual
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.producer(x)
        z = self.a(y) * torch.sigmoid(self.b(y))
        return z + y if self.residual else z


def quantized(model: nn.Module) -> tuple[Any, float]:
    """The compiled graph, and the relative error of its output."""
    batches = [torch.randn(32, 16) for _ in range(4)]
    ready = prepare(model.eval(), get_smooth_quant_qconfig_mapping(), example_inputs=batches[0])
    for x in batches:
        ready(x)
    converted = convert(ready)
    with torch.no_grad():
        expected, got = model(batches[0]), converted(batches[0])
    assert {r.became for r in ipex_quant.report(converted) if r.module in "ab"} == {"int8"}
    return converted.compiled.graph, float((got - expected).norm() / expected.norm())


def norm() -> nn.Module:
    layer = nn.LayerNorm(16)
    with torch.no_grad():
        layer.weight[3] = 50.0
    return layer


def root_mean_square() -> nn.Module:
    layer = nn.RMSNorm(16)
    with torch.no_grad():
        layer.weight[3] = 50.0
    return layer


def multiplications(graph: Any) -> int:
    """Multiplications by a constant vector."""
    found = [n for n in graph.nodes() if n.kind() == "aten::mul"]
    return sum(isinstance(n.inputsAt(1).toIValue(), torch.Tensor) for n in found)


@pytest.mark.parametrize(
    ("producer", "left"),
    [(norm, 0), (root_mean_square, 0), (Scale, 1), (lambda: nn.Linear(16, 16), 1)],
)
def test_folded(producer: Any, left: int) -> None:
    """What is left: the model's own multiplication, and that of the linear's own input."""
    graph, error = quantized(Net(producer()))
    assert multiplications(graph) == left
    assert 0 < error < 0.03


@pytest.mark.parametrize("producer", [norm, lambda: nn.Linear(16, 16), nn.Identity, nn.Tanh])
def test_a_reader_without_the_factor_or_no_constants(producer: Any) -> None:
    """Then one multiplication serves all the readers; the kernel of a layer norm takes it in."""
    keep = isinstance(producer(), (nn.LayerNorm, nn.Linear))
    graph, error = quantized(Net(producer(), residual=keep))
    left = {nn.LayerNorm: 0, nn.Linear: 2}  # 2: the factor of the linear's own input, too
    assert multiplications(graph) == left.get(type(producer()), 1)
    assert 0 < error < 0.03


def test_a_norm_without_weight_has_a_kernel_that_divides() -> None:
    graph, error = quantized(Net(nn.LayerNorm(16, elementwise_affine=False)))
    assert multiplications(graph) == 0 and 0 < error < 0.03


def test_the_traced_module_is_unchanged() -> None:
    model, x = Net(norm()).eval(), torch.randn(8, 16)
    ready = prepare(model, get_smooth_quant_qconfig_mapping(), example_inputs=x)
    ready(x)
    with torch.no_grad():
        traced = torch.jit.trace(ready, x)
        before = traced(x)
        first, second = ipex_quant.jit.quantize(traced), ipex_quant.jit.quantize(traced)
    assert torch.equal(traced(x), before) and torch.equal(first(x), second(x))
