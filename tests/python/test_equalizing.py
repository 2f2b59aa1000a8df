"""Equalizing two layers: the same bits in float, less error in int8, and only where it is exact."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ipex_quant import equalizing


def uneven(first: nn.Module) -> nn.Module:
    """Make the outputs of a layer differ by three orders of magnitude."""
    with torch.no_grad():
        shape = (-1, *[1] * (first.weight.dim() - 1))
        first.weight *= torch.logspace(-3, 0, first.weight.shape[0]).reshape(shape)
        if first.bias is not None:
            first.bias *= torch.logspace(-3, 0, first.bias.shape[0])
    return first


def depthwise(act: nn.Module | None) -> nn.Module:
    layers = [uneven(nn.Conv2d(3, 8, 1)), act, nn.Conv2d(8, 8, 3, groups=8, padding=1)]
    return nn.Sequential(*(m for m in layers if m is not None)).eval()


@pytest.mark.parametrize(
    "act", [None, nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(0.1)], ids=str
)
def test_an_uneven_depthwise_pair_is_evened_out_exactly(act: nn.Module | None) -> None:
    model, x = depthwise(act), torch.randn(2, 3, 6, 6)
    with torch.no_grad():
        expected = model(x)
        before = model[0](x).abs().amax((0, 2, 3))
        assert equalizing.equalize_layers(model, ((x,), {})) == 1
        assert torch.equal(model(x), expected)
        after = model[0](x).abs().amax((0, 2, 3))
    assert after.max() / after.min() < 0.1 * before.max() / before.min()


@pytest.mark.parametrize("act", [nn.ReLU6(), nn.GELU(), nn.Sigmoid()], ids=str)
def test_other_functions_are_not_homogeneous(act: nn.Module) -> None:
    assert equalizing.equalize_layers(depthwise(act), ((torch.randn(2, 3, 6, 6),), {})) == 0


def test_even_channels_are_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8)).eval()
    assert equalizing.equalize_layers(model, ((torch.randn(2, 3, 6, 6),), {})) == 0


def test_linear_layers() -> None:
    first = nn.Linear(4, 8)
    with torch.no_grad():
        first.weight[0] *= 1000
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(8, 8)).eval()
    x = torch.randn(16, 4)
    expected = model(x)
    equalizing.equalize_layers(model, ((x,), {}))
    assert torch.allclose(model(x), expected, rtol=1e-5, atol=1e-6)


def test_a_second_reader_forbids_it() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = uneven(nn.Conv2d(3, 8, 1)), nn.Conv2d(8, 8, 3, groups=8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(self.first(x))
            return self.second(y).mean() + y.mean()

    assert equalizing.equalize_layers(Model().eval(), ((torch.randn(2, 3, 6, 6),), {})) == 0
