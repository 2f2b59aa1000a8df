"""The built-in fusions by what they leave of small models: nothing but int8 operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compile_tools import Compiled

UNARY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "clamp": lambda x: x.clamp(-0.5, 0.5),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "sigmoid times x": lambda x: x * torch.sigmoid(x),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "elu": F.elu,
    "mish": F.mish,
    "neg": torch.neg,
    "add a number": lambda x: x + 0.5,
    "one minus": lambda x: 1 - x,
    "times a number": lambda x: x * 0.5,
    "by a number": lambda x: x / 3,
    "softplus": F.softplus,
    "selu": F.selu,
    "celu": F.celu,
    "logsigmoid": F.logsigmoid,
}


class After(nn.Module):
    """An anchor, something behind it, and a reader that wants int8."""

    def __init__(self, anchor: str, between: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.anchor = anchor
        self.between = between
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.fc = nn.Linear(8, 8)
        self.read = nn.Linear(8, 4)
        self.read_image = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        made = {
            "conv": self.conv,
            "conv_transpose": self.up,
            "linear": lambda x: self.fc(x),
            "matmul": lambda x: torch.matmul(x, y.transpose(-1, -2)),
        }[self.anchor](x)
        result = self.between(made)
        return self.read_image(result) if "conv" in self.anchor else self.read(result)


def inputs(anchor: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = (2, 8, 6, 6) if "conv" in anchor else (2, 3, 8, 8)
    return tuple(torch.randn(*shape, generator=generator) for _ in range(2))  # type: ignore


def kernels(compiled: Compiled) -> list[str]:
    """Operators of the module, without those that make int8 of the model's inputs."""
    return [k for k in compiled.kinds if "::quantize" not in k and k not in MOVES]


MOVES = {
    "aten::transpose",
    "aten::size",
    "aten::zeros",
    "aten::reshape",
    "aten::permute",
    "aten::unsqueeze",
}
ANCHORS = {
    "conv": "ipex_quant::conv",
    "conv_transpose": "ipex_quant::conv",
    "linear": "ipex_quant::linear",
    "matmul": "ipex_quant::matmul",
}


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("unary", UNARY)
def test_a_function_of_one_element_joins_the_kernel(anchor: str, unary: str) -> None:
    torch.manual_seed(0)
    compiled = Compiled(After(anchor, UNARY[unary]), *inputs(anchor))
    reader = "ipex_quant::conv" if "conv" in anchor else "ipex_quant::linear"
    assert kernels(compiled) == [ANCHORS[anchor], reader], compiled.report_text
    assert compiled.error() < 0.06


class Residual(After):
    """Two anchors, and their results combined."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.anchor == "conv":
            return self.read_image(self.between(self.conv(x), self.read_two(x)))
        return self.read(self.between(self.fc(x), self.read_four(x)))

    def __init__(self, anchor: str, between: Callable[..., torch.Tensor]) -> None:
        super().__init__(anchor, between)
        self.read_two = nn.Conv2d(8, 8, 1)
        self.read_four = nn.Linear(8, 8)


BINARY: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "add, relu": lambda a, b: F.relu(a + b),
    "add, gelu": lambda a, b: F.gelu(a + b),
    "add, silu": lambda a, b: F.silu(a + b),
    "add, hardswish": lambda a, b: F.hardswish(a + b),
    "relu, add": lambda a, b: F.relu(a) + b,
    "add, softplus": lambda a, b: F.softplus(a + b),
    "sigmoid, mul": lambda a, b: torch.sigmoid(a) * b,
    "silu, mul (gated)": lambda a, b: F.silu(a) * b,
    "gelu, mul (gated)": lambda a, b: F.gelu(a) * b,
}


@pytest.mark.parametrize("anchor", ["conv", "linear"])
@pytest.mark.parametrize("binary", BINARY)
def test_an_op_of_two_tensors_joins_the_later_kernel(anchor: str, binary: str) -> None:
    torch.manual_seed(0)
    compiled = Compiled(Residual(anchor, BINARY[binary]), *inputs(anchor))
    names = kernels(compiled)
    assert len(names) == 3, (names, compiled.report_text)
    assert all(name.startswith("ipex_quant::") for name in names)
    assert compiled.error() < 0.08


class SqueezeAndExcite(nn.Module):
    """conv, silu, then each channel times a gate made of the channels' means"""

    def __init__(self, pool: Callable, gate: Callable) -> None:
        super().__init__()
        self.pool, self.gate = pool, gate
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 4, 1)
        self.up = nn.Conv2d(4, 8, 1)
        self.out = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.silu(self.conv(x))
        return self.out(x * self.gate(self.up(F.relu(self.down(self.pool(x))))))


class Chain(nn.Module):
    """Modules and functions one behind the other."""

    def __init__(self, *parts: Any) -> None:
        super().__init__()
        self.modules_ = nn.ModuleList(p for p in parts if isinstance(p, nn.Module))
        self.parts = parts

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = part(x)
        return x


class Block(nn.Module):
    """attention output, residual, layer norm, feed-forward, residual, layer norm"""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Linear(16, 16) for _ in range(3))
        self.norm1, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.one(x))
        return self.norm2(x + self.three(F.gelu(self.two(x))))


class Recurrent(nn.Module):
    def __init__(self, cell: type) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.rnn = cell(8, 12, batch_first=True)
        self.out = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(F.relu(self.inner(x)))[0])


def image(size: int = 8) -> torch.Tensor:
    return torch.randn(2, 8, size, size, generator=torch.Generator().manual_seed(3))


CONV = "ipex_quant::conv"
#: Model, its inputs and the operators that are left, those that only move data aside.
MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple], list[str]]] = {
    "squeeze and excite": (
        lambda: SqueezeAndExcite(lambda x: F.adaptive_avg_pool2d(x, 1), torch.sigmoid),
        lambda: (image(),),
        [CONV, "ipex_quant::adaptive_avg_pool", CONV, CONV, "ipex_quant::binary", CONV],
    ),
    "squeeze by mean, hard gate": (
        lambda: SqueezeAndExcite(lambda x: x.mean((2, 3), keepdim=True), F.hardsigmoid),
        lambda: (image(),),
        [CONV, "ipex_quant::mean", CONV, CONV, "ipex_quant::binary", CONV],
    ),
    "mean head": (
        lambda: Chain(nn.Conv2d(8, 8, 3), nn.ReLU(), lambda x: x.mean((2, 3)), nn.Linear(8, 4)),
        lambda: (image(),),
        [CONV, "ipex_quant::mean", "ipex_quant::linear"],
    ),
    "avg-pool head": (
        lambda: Chain(
            nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        ),
        lambda: (image(),),
        [CONV, "ipex_quant::adaptive_avg_pool", "aten::flatten", "ipex_quant::linear"],
    ),
    "pixel shuffle": (
        lambda: Chain(nn.Conv2d(8, 16, 3), nn.PixelShuffle(2), nn.Conv2d(4, 4, 1)),
        lambda: (image(),),
        [CONV, "aten::pixel_shuffle", CONV],
    ),
    "nearest upsample": (
        lambda: Chain(nn.Conv2d(8, 8, 3), nn.Upsample(scale_factor=2), nn.Conv2d(8, 4, 1)),
        lambda: (image(),),
        [CONV, "aten::upsample_nearest2d", CONV],
    ),
    "residual and layer norm": (
        Block,
        lambda: (torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(3)),),
        [
            "ipex_quant::linear",
            "ipex_quant::layer_norm",
            "ipex_quant::linear",
            "ipex_quant::linear",
            "aten::layer_norm",
        ],
    ),
    "lstm": (
        lambda: Recurrent(nn.LSTM),
        lambda: (torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(3)),),
        ["ipex_quant::linear", "ipex_quant::lstm", "ipex_quant::linear"],
    ),
    "gru": (
        lambda: Recurrent(nn.GRU),
        lambda: (torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(3)),),
        ["ipex_quant::linear", "ipex_quant::gru", "ipex_quant::linear"],
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str) -> None:
    make, example, expected = MODELS[name]
    torch.manual_seed(0)
    compiled = Compiled(make(), *example())
    assert kernels(compiled) == expected, compiled.report_text
    assert compiled.error() < 0.06
