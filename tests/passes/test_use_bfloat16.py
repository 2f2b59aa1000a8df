"""use-bfloat16: exact IR; casts are shared, and left out between two layers."""

from __future__ import annotations

import torch

from compile_tools import Golden

GOLDEN = Golden("use-bfloat16")
W, V, B = torch.randn(4, 4), torch.randn(4, 4), torch.randn(4)


def test_two_layers_and_a_shared_input() -> None:
    before = """
graph(%x : Tensor):
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %v : Tensor = prim::Constant[value=<Tensor>]()
  %b : Tensor = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %n : int = prim::Constant[value=1]()
  %t : Tensor = aten::tanh(%x)
  %a : Tensor = aten::linear(%t, %w, %b)
  %c : Tensor = aten::linear(%t, %v, %none)
  %d : Tensor = aten::linear(%a, %v, %none)
  %e : Tensor = aten::add(%c, %d, %n)
  return (%e)
"""
    after = """
graph(%0):
  %1 = aten::tanh(%0)
  %2 = aten::to(%1, 15, False, False, None)
  %3 = aten::linear(%2, <4x4>, <4>)
  %4 = aten::linear(%2, <4x4>, None)
  %5 = aten::to(%4, 6, False, False, None)
  %6 = aten::linear(%3, <4x4>, None)
  %7 = aten::to(%6, 6, False, False, None)
  %8 = aten::add(%5, %7, 1)
  return (%8)
"""
    GOLDEN.check(before, after, constants=[W, V, B], inputs=[torch.randn(3, 4)], tolerance=0.5)


def test_a_product_of_unknown_dtypes_stays() -> None:
    before = """
graph(%x : Tensor):
  %y : Tensor = aten::matmul(%x, %x)
  return (%y)
"""
    GOLDEN.check(before, None, inputs=[torch.randn(4, 4, dtype=torch.float64)])


def test_a_weight_of_float64_stays() -> None:
    before = """
graph(%x : Tensor):
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %y : Tensor = aten::linear(%x, %w, %none)
  return (%y)
"""
    x = torch.randn(3, 4, dtype=torch.float64)
    GOLDEN.check(before, None, constants=[W.double()], inputs=[x])
