"""fold-batch-norm: batch_norm goes into the weights of the layer before it."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from ipex_quant import _C

NORM = """  %f : bool = prim::Constant[value=0]()
  %e : float = prim::Constant[value=0.001]()
  %g : Float(4) = prim::Constant[value=<Tensor>]()
  %h : Float(4) = prim::Constant[value=<Tensor>]()
  %m : Float(4) = prim::Constant[value=<Tensor>]()
  %v : Float(4) = prim::Constant[value=<Tensor>]()
"""
CONV = """
graph(%x : Tensor):
  %w : Float(4, 3, 3, 3) = prim::Constant[value=<Tensor>]()
  %b : Float(4) = prim::Constant[value=<Tensor>]()
  %s : int[] = prim::Constant[value=[1, 1]]()
  %n : int = prim::Constant[value=1]()
{norm}  %c : Tensor = aten::conv2d[iq_ids=[0], iq_site="c/conv/0"](%x, %w, %b, %s, %s, %s, %n)
  %y : Tensor = aten::batch_norm[iq_ids=[1]](%c, %g, %h, %m, %v, %f, %e, %e, %f)
  return (%y)
"""


def statistics(channels: int) -> list[torch.Tensor]:
    return [torch.randn(channels) for _ in range(3)] + [torch.rand(channels) + 0.5]


def folded(weight: torch.Tensor, bias: torch.Tensor, stats: list[torch.Tensor]) -> list:
    gamma, beta, mean, var = (s.double() for s in stats)
    factor = gamma / (var + 0.001).sqrt()
    shape = [-1] + [1] * (weight.dim() - 1)
    new_weight = (weight.double() * factor.view(shape)).float()
    return [new_weight, ((bias.double() - mean) * factor + beta).float(), factor.float()]


def test_conv() -> None:
    stats = statistics(4)
    weight, bias = torch.randn(4, 3, 3, 3), torch.randn(4)
    graph = _C.parse_ir(CONV.format(norm=NORM), [weight, bias, *stats])
    assert _C.run_pass("fold-batch-norm", graph)
    expected = _C.parse_ir(
        """
graph(%x : Tensor):
  %s : int[] = prim::Constant[value=[1, 1]]()
  %n : int = prim::Constant[value=1]()
  %w : Float(4, 3, 3, 3) = prim::Constant[value=<Tensor>]()
  %b : Float(4) = prim::Constant[value=<Tensor>]()
  %c : Tensor = aten::conv2d[iq_ids=[0, 1], iq_site="c/conv/0"](%x, %w, %b, %s, %s, %s, %n)
  return (%c)
""",
        folded(weight, bias, stats)[:2],
    )
    # the factor is a tensor attribute, which IR text does not hold
    text = re.sub(r", iq_weight_factor=.*?\}\s*\]\s*\]", "]", _C.canonical(graph), flags=re.S)
    assert text == _C.canonical(expected)
    (conv,) = graph.findAllNodes("aten::conv2d")
    torch.testing.assert_close(conv.t("iq_weight_factor"), folded(weight, bias, stats)[2])
    assert not _C.run_pass("fold-batch-norm", graph)


def randomize(norm: nn.Module) -> nn.Module:
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return norm


def normalized_ops(model: nn.Module, x: torch.Tensor) -> set[str]:
    """Operators of the normalized trace, after its outputs were compared."""
    model.eval()
    with torch.no_grad():
        traced = torch.jit.trace(model, x)
        module, _ = _C.normalize(traced._c)
        module = torch.jit._recursive.wrap_cpp_module(module)
        torch.testing.assert_close(module(x), model(x), rtol=1e-4, atol=1e-5)
    return {node.kind() for node in module.graph.nodes()}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv1d(3, 4, 3), nn.BatchNorm1d, (2, 3, 8)),
        (nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d, (2, 3, 8, 8)),
        (nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d, (2, 4, 8, 8)),
        (nn.Conv3d(3, 4, 3), nn.BatchNorm3d, (2, 3, 4, 4, 4)),
        (nn.ConvTranspose1d(4, 4, 3, groups=2), nn.BatchNorm1d, (2, 4, 8)),
        (nn.ConvTranspose2d(3, 4, 3, stride=2), nn.BatchNorm2d, (2, 3, 8, 8)),
    ],
)
def test_layers(layer: nn.Module, norm: type, shape: tuple[int, ...], affine: bool) -> None:
    model = nn.Sequential(layer, randomize(norm(4, affine=affine)))
    assert "aten::batch_norm" not in normalized_ops(model, torch.randn(shape))


def test_linear_of_known_rank() -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 4), randomize(nn.BatchNorm1d(4))
    )
    assert "aten::batch_norm" not in normalized_ops(model, torch.randn(2, 3, 4))


def test_linear_with_a_sequence_stays() -> None:
    """batch_norm normalises the sequence here, not the features, though both have size 4."""
    model = nn.Sequential(nn.Linear(3, 4), randomize(nn.BatchNorm1d(4)))
    assert "aten::batch_norm" in normalized_ops(model, torch.randn(2, 4, 3))


class OnRows(nn.Module):
    """As LeViT: flattened to rows for the norm, and back to the shape of the layer's output."""

    def __init__(self, last: int, layer: nn.Module) -> None:
        super().__init__()
        self.last = last
        self.layers = nn.ModuleList([nn.Linear(3, 4), layer])
        self.norms = nn.ModuleList([randomize(nn.BatchNorm1d(4)) for _ in range(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(1, 2).reshape(x.size(0), -1, 3)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = layer(x)
            x = norm(x.flatten(0, self.last)).reshape_as(x)
        return x


@pytest.mark.parametrize("last", [1, -2])
def test_linear_on_rows(last: int) -> None:
    model = OnRows(last, nn.Linear(4, 4))
    assert "aten::batch_norm" not in normalized_ops(model, torch.randn(2, 3, 4))


def test_conv_on_rows_stays() -> None:
    """Rows of a convolution end with its positions, which have the size of its channels here."""
    ops = normalized_ops(OnRows(1, nn.Conv1d(4, 4, 1)), torch.randn(2, 3, 4))
    assert "aten::batch_norm" in ops


def test_linear_whose_output_is_read_beside_its_rows_stays() -> None:
    class Twice(OnRows):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.layers[0](x.reshape(2, -1, 3))
            return self.norms[0](x.flatten(0, 1)).reshape_as(x) + x

    assert "aten::batch_norm" in normalized_ops(Twice(1, nn.Identity()), torch.randn(2, 4, 3))


def test_layer_that_is_used_twice_stays() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.norm = randomize(nn.BatchNorm2d(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return self.norm(x) + x

    assert "aten::batch_norm" in normalized_ops(Twice(), torch.randn(2, 3, 4, 4))
