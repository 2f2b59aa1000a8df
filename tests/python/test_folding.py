"""Folding of batch norms: where a run proves it right, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ipex_quant import folding


def lively(norm: nn.Module) -> nn.Module:
    """A batch norm whose every statistic matters."""
    torch.manual_seed(3)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.2, 3)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


def check(model: nn.Module, x: torch.Tensor, folded: int) -> None:
    model.eval()
    with torch.no_grad():
        expected = model(x)
        assert folding.fold_batch_norms(model, ((x,), {})) == folded
        assert torch.allclose(model(x), expected, atol=1e-4)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert bool(norms) == (folded == 0)


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv1d(3, 6, 3, bias=False), nn.BatchNorm1d(6), (2, 3, 9)),
        (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (2, 4, 7, 7)),
        (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(6), (2, 4, 7, 7)),
        (nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4, affine=False), (1, 2, 4, 4, 4)),
        (nn.ConvTranspose2d(4, 6, 3, groups=2, stride=2), nn.BatchNorm2d(6), (2, 4, 5, 5)),
        (nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), (5, 4)),
    ],
    ids=["conv1d", "grouped", "reflect", "conv3d", "transposed", "linear"],
)
def test_folds(layer: nn.Module, norm: nn.Module, shape: tuple[int, ...]) -> None:
    check(nn.Sequential(layer, lively(norm), nn.ReLU()), torch.randn(shape), 1)


def test_a_linear_with_three_dimensions_is_not_folded() -> None:
    # Its channels are last, those of the norm are dimension 1.
    check(nn.Sequential(nn.Linear(4, 6), lively(nn.BatchNorm1d(6))), torch.randn(2, 6, 4), 0)


class TwoReaders(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.norm, self.how = nn.Conv2d(3, 3, 1), lively(nn.BatchNorm2d(3)), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.how == "view":
            return self.norm(y) + y.flatten().sum()
        if self.how == "twice":
            return self.norm(self.conv(self.norm(y)))
        if self.how == "weight":
            return self.norm(y) + self.conv.weight.sum()
        return self.norm(y) + y


@pytest.mark.parametrize("how", ["add", "view", "twice", "weight"])
def test_a_second_reader_forbids_it(how: str) -> None:
    check(TwoReaders(how), torch.randn(2, 3, 5, 5), 0)


def test_a_returned_convolution_is_not_folded() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), lively(nn.BatchNorm2d(3))

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.conv(x)
            return self.norm(y), y

    model = Model().eval()
    assert folding.fold_batch_norms(model, ((torch.randn(2, 3, 5, 5),), {})) == 0


def test_hooked_modules_are_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), lively(nn.BatchNorm2d(3)))
    model[0].register_forward_hook(lambda m, a, y: y * 2)
    check(model, torch.randn(2, 3, 5, 5), 0)


def test_reparametrised_weights_are_left_alone() -> None:
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 1))
    check(nn.Sequential(conv, lively(nn.BatchNorm2d(3))), torch.randn(2, 3, 5, 5), 0)
