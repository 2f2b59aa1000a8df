"""settle-fake-quant: fake quantization that freezing would fold or could not read."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

from compile_tools import Golden, ir
from ipex_quant import _C

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.ao.quantization import disable_fake_quant, disable_observer
    from torch.ao.quantization.fake_quantize import (
        default_fused_act_fake_quant,
        default_fused_per_channel_wt_fake_quant,
    )

GOLDEN = Golden("settle-fake-quant")
WEIGHT = 2 * torch.rand(4, 6) - 1  # inside of the range of every scale
SCALES = torch.rand(4) / 50 + 0.01
ZEROS = torch.zeros(4, dtype=torch.int32)


def test_a_weight_becomes_a_quantized_constant() -> None:
    before = """
graph(%x : Tensor):
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %s : Tensor = prim::Constant[value=<Tensor>]()
  %z : Tensor = prim::Constant[value=<Tensor>]()
  %axis : int = prim::Constant[value=0]()
  %low : int = prim::Constant[value=-127]()
  %high : int = prim::Constant[value=127]()
  %none : NoneType = prim::Constant()
  %f : Tensor = aten::fake_quantize_per_channel_affine(%w, %s, %z, %axis, %low, %high)
  %y : Tensor = aten::linear(%x, %f, %none)
  return (%y)
"""
    after = """
graph(%0):
  %1 = aten::quantize_per_channel(<4x6>, <4>, <4>, 0, 12)
  %2 = aten::dequantize(%1)
  %3 = aten::linear(%0, %2, None)
  return (%3)
"""
    graph = GOLDEN.check(
        before,
        after,
        constants=[WEIGHT, SCALES, ZEROS],
        inputs=[torch.randn(2, 6)],
        tolerance=1e-5,
    )
    dequantize = next(n for n in graph.nodes() if n.kind() == "aten::dequantize")
    assert getattr(dequantize, "is")("iq_range") == [-127, 127]


def test_an_activation_stays() -> None:
    before = """
graph(%x : Tensor):
  %s : float = prim::Constant[value=0.1]()
  %low : int = prim::Constant[value=0]()
  %high : int = prim::Constant[value=255]()
  %y : Tensor = aten::fake_quantize_per_tensor_affine(%x, %s, %low, %low, %high)
  return (%y)
"""
    GOLDEN.check(before, None, inputs=[torch.randn(3)])


def test_codes_of_more_than_8_bits_stay_with_a_reason() -> None:
    before = """
graph(%x : Tensor):
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %s : float = prim::Constant[value=0.1]()
  %z : int = prim::Constant[value=0]()
  %low : int = prim::Constant[value=-512]()
  %high : int = prim::Constant[value=511]()
  %f : Tensor = aten::fake_quantize_per_tensor_affine(%w, %s, %z, %low, %high)
  %y : Tensor = aten::mul(%x, %f)
  return (%y)
"""
    graph = GOLDEN.check(before, None, constants=[torch.randn(3)], inputs=[torch.randn(3)])
    node = next(n for n in graph.nodes() if "fake" in n.kind())
    assert node.s("iq_reason") == "its codes do not fit into 8 bits"


class Trained(nn.Module):
    """A linear layer with the fused observers of quantization-aware training."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.act = default_fused_act_fake_quant()
        self.weight = default_fused_per_channel_wt_fake_quant()
        self(torch.randn(8, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight(self.linear.weight)
        return nn.functional.linear(self.act(x), weight, self.linear.bias)


def normalized(model: nn.Module) -> torch._C.Graph:
    traced = torch.jit.trace(model.eval(), torch.randn(8, 6), check_trace=False)
    return _C.normalize(traced._c)[0]._get_method("forward").graph


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_fused_form_of_a_module() -> None:
    model = Trained().apply(disable_observer)
    text = ir(normalized(model))
    assert "fused_moving_avg" not in text and "fake_quantize" not in text
    assert "ipex_quant::quantize(" in text and "ipex_quant::dequantize_weight(<4x6>" in text
    off = ir(normalized(copy.deepcopy(model).apply(disable_fake_quant)))
    assert "quant" not in off


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_observer_that_is_on_keeps_it() -> None:
    graph = normalized(Trained())
    nodes = [n for n in graph.nodes() if n.kind() == "aten::fused_moving_avg_obs_fake_quant"]
    assert len(nodes) == 2
    assert all("disable_observer" in n.s("iq_reason") for n in nodes)
