"""fold-pad: zero padding goes into the convolution."""

from __future__ import annotations

import pytest
import torch

WEIGHT = torch.randn(4, 3, 3, 3)
GRAPH = """
graph(%x : Tensor):
  %w : Float(4, 3, 3, 3) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %one : int[] = prim::Constant[value=[1, 1]]()
  %p : int[] = prim::Constant[value=[0, 1]]()
  %n : int = prim::Constant[value=1]()
  %sizes : int[] = prim::Constant[value={sizes}]()
{pad}
  %y : Tensor = aten::conv2d[iq_ids=[1]](%q, %w, %none, %one, %p, %one, %n)
  return (%y)
"""
PAD_ND = """  %value : float = prim::Constant[value={value}]()
  %q : Tensor = aten::constant_pad_nd[iq_ids=[0]](%x, %sizes, %value)"""
PAD = """  %mode : str = prim::Constant[value="{mode}"]()
  %q : Tensor = aten::pad[iq_ids=[0]](%x, %sizes, %mode, %none)"""
AFTER = """
graph(%x : Tensor):
  %w : Float(4, 3, 3, 3) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %one : int[] = prim::Constant[value=[1, 1]]()
  %n : int = prim::Constant[value=1]()
  %p : int[] = prim::Constant[value=[1, 3]]()
  %y : Tensor = aten::conv2d[iq_ids=[0, 1]](%x, %w, %none, %one, %p, %one, %n)
  return (%y)
"""


@pytest.mark.parametrize("pad", [PAD_ND.format(value="0."), PAD.format(mode="constant")])
def test_equal_sides(check_pass, pad: str) -> None:
    before = GRAPH.format(sizes="[2, 2, 1, 1]", pad=pad)
    check_pass("fold-pad", before, AFTER, constants=[WEIGHT], inputs=[torch.randn(2, 3, 8, 8)])


@pytest.mark.parametrize(
    ("sizes", "pad"),
    [
        ("[0, 1, 0, 1]", PAD_ND.format(value="0.")),
        ("[1, 1, 1, 1]", PAD_ND.format(value="1.")),
        ("[1, 1, 1, 1]", PAD.format(mode="reflect")),
        ("[1, 1, -1, -1]", PAD_ND.format(value="0.")),
    ],
)
def test_other_padding_stays(check_pass, sizes: str, pad: str) -> None:
    before = GRAPH.format(sizes=sizes, pad=pad)
    check_pass("fold-pad", before, None, constants=[WEIGHT], inputs=[torch.randn(2, 3, 8, 8)])
