"""What IPEX computed wrong or changed unasked: values and the user's model are right."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QuantizationError, default_static_qconfig, jit
from ipex_quant.quantization import convert, prepare


def converted(model: nn.Module, *args: torch.Tensor, qconfig: Any = default_static_qconfig) -> Any:
    ready = prepare(model.eval(), qconfig, example_inputs=args)
    with torch.no_grad():
        ready(*args)
        return convert(ready)


def error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


class Sum(nn.Module):
    """A residual sum, which is part of the linear layer in front of it."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.first, self.second, self.alpha = nn.Linear(16, 16), nn.Linear(16, 16), alpha

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.second(torch.add(x, y, alpha=self.alpha))


class Quotient(nn.Module):
    def __init__(self, rounding: str | None) -> None:
        super().__init__()
        self.fc, self.last, self.rounding = nn.Linear(16, 16), nn.Linear(16, 16), rounding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.div(8 * self.fc(x), 0.75, rounding_mode=self.rounding))


@pytest.mark.parametrize(
    ("make", "values"), [(Sum, [1, 2, -3, 0.5]), (Quotient, [None, "floor", "trunc"])]
)
@pytest.mark.parametrize("way", ["prepare", "quantize"])
def test_every_argument_counts(make: Any, values: list, way: str) -> None:
    x = torch.randn(64, 16)
    base = make(values[0]).eval()
    got, expected = [], []
    for value in values:
        model = make(value).eval()
        model.load_state_dict(base.state_dict())
        if way == "prepare":
            quantized = converted(model, x)
        else:
            quantized = jit.quantize(torch.jit.trace(model, x), calibration_data=[x])
        got.append(quantized(x).detach())
        expected.append(model(x).detach())
    for i, output in enumerate(got):
        errors = [error(output, float_output) for float_output in expected]
        assert errors[i] == min(errors) < 0.08  # measured 0.008 to 0.036


class NormBehindLinear(nn.Module):
    """The norm is over dimension 1, the linear layer makes the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.last = nn.Linear(8, 8), nn.BatchNorm2d(8), nn.Linear(8, 4)
        with torch.no_grad():
            self.norm.running_mean.copy_(torch.linspace(-1, 1, 8))
            self.norm.running_var.copy_(torch.linspace(0.2, 3, 8))
            self.norm.weight.copy_(torch.linspace(0.5, 2, 8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.fc(x)))


@pytest.mark.parametrize("way", ["prepare", "quantize"])
def test_a_norm_of_images_behind_a_linear_layer(way: str) -> None:
    model, x = NormBehindLinear().eval(), torch.randn(4, 8, 8, 8)
    expected = model(x).detach()
    if way == "prepare":
        assert torch.allclose(prepare(model, default_static_qconfig, x)(x), expected, atol=1e-5)
        quantized = converted(model, x)
    else:
        quantized = jit.quantize(torch.jit.trace(model, x), calibration_data=[x])
    assert error(quantized(x).detach(), expected) < 0.03


class Branches(nn.Module):
    """Control flow that torch.fx cannot trace; the norm is folded all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        with torch.no_grad():
            self.norm.running_var.fill_(4.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool((x == x).all()):
            return torch.relu(self.norm(self.conv(x)))
        raise ValueError("NaN in the input")


@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:torch.jit.TracerWarning")
def test_a_model_that_fx_cannot_trace() -> None:
    model, x = Branches().eval(), torch.randn(2, 3, 8, 8)
    with pytest.raises(torch.fx.proxy.TraceError):
        torch.fx.symbolic_trace(model)
    quantized = converted(model, x)
    assert error(quantized(x), model(x).detach()) < 0.03
    rows = {row.module: row for row in ipex_quant.report(quantized) if row.module}
    assert set(rows) == {"conv"}
    assert rows["conv"].became == "int8"


def test_strides_of_the_model_stay() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 3)).eval()
    x = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    values = copy.deepcopy(model.state_dict())
    strides = [p.stride() for p in model.parameters()]
    converted(model, x)
    assert [p.stride() for p in model.parameters()] == strides
    assert all(torch.equal(v, values[k]) for k, v in model.state_dict().items())


class Sometimes(nn.Module):
    """Leaves its second layer out for inputs of one row."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.one(x)
        return self.two(y) if x.shape[0] > 1 else y


def test_a_later_call_with_fewer_operators() -> None:
    model, x = Sometimes().eval(), torch.randn(4, 8)
    ready = prepare(model, default_static_qconfig, x)
    ready(x)
    assert torch.equal(ready(x[:1]), model(x[:1]))  # calibrates what it reaches
    assert error(convert(ready)(x).detach(), model(x).detach()) < 0.03
    # What no call reached has no range.
    ready = prepare(model, default_static_qconfig, x)
    ready(x[:1])
    with pytest.raises(QuantizationError, match="saw no values in calibration: 'two/linear/0'"):
        convert(ready)


class Product(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.matmul(torch.tanh(x), y)


X3 = torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(3))
M = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(4))


def operators(quantized: Any) -> list[str]:
    kinds = [node.kind() for node in quantized.compiled.graph.nodes()]
    return [kind for kind in kinds if not kind.startswith("prim::")]


@pytest.mark.parametrize(
    ("pool", "name"),
    [
        (nn.MaxPool3d(2), "max_pool"),
        (nn.AvgPool3d(2), "avg_pool"),
        (nn.AdaptiveAvgPool3d(4), "adaptive_avg_pool"),
    ],
)
def test_a_pool_of_volumes_is_int8_between_int8_layers_alone(pool: nn.Module, name: str) -> None:
    alone = converted(nn.Sequential(pool), X3)
    assert operators(alone) == [f"aten::{name}3d"]
    between = converted(nn.Sequential(nn.Conv3d(3, 4, 1), pool, nn.Conv3d(4, 4, 1)), X3)
    kinds = ["quantize_channels_last", "conv", name, "conv"]
    assert operators(between) == [f"ipex_quant::{kind}" for kind in kinds]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (M, M[0, 0]),
        (M[0, 0], M[0].t()),
        (M[0, 0], M[0, 1]),
        (M[0], M.transpose(1, 2)),
        (M[None], M.transpose(1, 2)),
    ],
)
def test_products_of_odd_ranks_have_a_kernel(x: torch.Tensor, y: torch.Tensor) -> None:
    quantized = converted(Product(), x, y)
    kinds = ["aten::tanh", *["ipex_quant::quantize"] * 2, "ipex_quant::matmul"]
    assert operators(quantized) == kinds
    assert error(quantized(x, y), Product()(x, y)) < 0.03
