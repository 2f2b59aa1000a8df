"""fold-channel-affine: what rescales channels behind a quantized layer goes into its scales."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden

GOLDEN = Golden("fold-channel-affine")
CODES = torch.randint(-127, 128, (4, 3, 3, 3), dtype=torch.int8)
SCALES = torch.rand(4) / 50 + 0.01
BIAS = torch.randn(4)
X = torch.randn(2, 3, 8, 8)

CONV = """
graph(%x : Tensor):
  %codes : Tensor = prim::Constant[value=<Tensor>]()
  %scales : Tensor = prim::Constant[value=<Tensor>]()
  %bias : Tensor = prim::Constant[value=<Tensor>]()
  %p : Tensor = prim::Constant[value=<Tensor>]()
  %q : Tensor = prim::Constant[value=<Tensor>]()
  %axis : int = prim::Constant[value=0]()
  %n : int = prim::Constant[value=1]()
  %one : int[] = prim::Constant[value=[1, 1]]()
  %eps : float = prim::Constant[value=1e-5]()
  %no : bool = prim::Constant[value=0]()
  %w : Tensor = ipex_quant::dequantize_weight(%codes, %scales, %axis)
  %y : Tensor = aten::conv2d(%x, %w, %bias, %one, %one, %one, %n)
TAIL
  return (%r)
"""
FOLDED = """
graph(%0):
  %1 = ipex_quant::dequantize_weight(<4x3x3x3>, <4>, 0)
  %2 = aten::conv2d(%0, %1, <4>, [1, 1], [1, 1], [1, 1], 1)
  return (%2)
"""
DIVIDE = "  %d : Tensor = aten::div(%y, %p)\n  %r : Tensor = aten::add(%d, %q, %n)"
NORM = (
    "  %d : Tensor = aten::mul(%y, %p)\n"
    "  %r : Tensor = aten::batch_norm(%d, %q, %bias, %bias, %scales, %no, %eps, %eps, %no)"
)


def channels(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, 4, 1, 1)


@pytest.mark.parametrize("tail", [DIVIDE, NORM])
def test_it_folds(tail: str) -> None:
    p = channels(0.9, -1.1, 2.0, 0.5)  # a negative factor turns the codes
    q = torch.tensor([1.0, 0.5, -0.5, 2.0])
    constants = [CODES, SCALES, BIAS, p, q if tail is NORM else q.view(1, 4, 1, 1)]
    text = CONV.replace("TAIL", tail)
    GOLDEN.check(text, FOLDED, constants=constants, inputs=[X], tolerance=1e-4)


def test_a_code_of_minus_128_cannot_turn() -> None:
    codes = CODES.clone()
    codes[1, 0, 0, 0] = -128
    constants = [codes, SCALES, BIAS, channels(0.9, -1.1, 2.0, 0.5), channels(1, 2, 3, 4)]
    GOLDEN.check(CONV.replace("TAIL", DIVIDE), None, constants=constants, inputs=[X])


@pytest.mark.parametrize(
    "p", [torch.ones(2, 4, 8, 8), channels(1, 0, 1, 1), torch.ones(1, 1, 1, 8)]
)
def test_other_operands_stay(p: torch.Tensor) -> None:
    tail = "  %r : Tensor = aten::mul(%y, %p)"
    constants = [CODES, SCALES, BIAS, p, BIAS]
    GOLDEN.check(CONV.replace("TAIL", tail), None, constants=constants, inputs=[X])


def test_a_result_with_two_readers_stays() -> None:
    tail = "  %d : Tensor = aten::mul(%y, %p)\n  %r : Tensor = aten::add(%d, %y, %n)"
    constants = [CODES, SCALES, BIAS, channels(1, 2, 3, 4), BIAS]
    GOLDEN.check(CONV.replace("TAIL", tail), None, constants=constants, inputs=[X])


def test_a_linear_layer_with_one_scale() -> None:
    before = """
graph(%x : Tensor):
  %codes : Tensor = prim::Constant[value=<Tensor>]()
  %scales : Tensor = prim::Constant[value=<Tensor>]()
  %p : Tensor = prim::Constant[value=<Tensor>]()
  %axis : int = prim::Constant[value=0]()
  %none : NoneType = prim::Constant()
  %w : Tensor = ipex_quant::dequantize_weight(%codes, %scales, %axis)
  %y : Tensor = aten::linear(%x, %w, %none)
  %r : Tensor = aten::mul(%y, %p)
  return (%r)
"""
    after = """
graph(%0):
  %1 = ipex_quant::dequantize_weight(<4x6>, <4>, 0)
  %2 = aten::linear(%0, %1, <4>)
  return (%2)
"""
    constants = [CODES[:, :2, :1].reshape(4, 6), torch.tensor([0.02]), torch.rand(4) + 0.5]
    GOLDEN.check(before, after, constants=constants, inputs=[torch.randn(2, 5, 6)], tolerance=1e-5)
