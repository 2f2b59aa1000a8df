"""canonicalize-conv: every convolution gets one form."""

from __future__ import annotations

import pytest
import torch

WEIGHT = torch.randn(4, 3, 3, 3)
EVEN = torch.randn(4, 3, 2, 2)

CONVOLUTION = """
graph(%x : Tensor):
  %w : Float(4, 3, 3, 3) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %zero : int = prim::Constant[value=0]()
  %no : bool = prim::Constant[value=0]()
  %s : int[] = prim::ListConstruct(%two, %one)
  %p : int[] = prim::ListConstruct(%one, %one)
  %o : int[] = prim::ListConstruct(%zero, %zero)
  %y : Tensor = aten::_convolution[iq_ids=[0], iq_site="c/conv/0"](%x, %w, %none, %s, %p, %p, %no, %o, %one, %no, %no, %no, %no)
  return (%y)
"""  # noqa: E501
CONV2D = """
graph(%x : Tensor):
  %w : Float(4, 3, 3, 3) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %s : int[] = prim::Constant[value=[2, 1]]()
  %p : int[] = prim::Constant[value=[1, 1]]()
  %d : int[] = prim::Constant[value=[1, 1]]()
  %g : int = prim::Constant[value=1]()
  %y : Tensor = aten::conv2d[iq_ids=[0], iq_site="c/conv/0"](%x, %w, %none, %s, %p, %d, %g)
  return (%y)
"""
TRANSPOSED = """
graph(%x : Tensor):
  %w : Float(4, 3, 3, 3) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %s : int[] = prim::Constant[value=[2, 2]]()
  %p : int[] = prim::Constant[value=[1, 1]]()
  %d : int[] = prim::Constant[value=[1, 1]]()
  %o : int[] = prim::Constant[value=[1, 0]]()
  %g : int = prim::Constant[value=1]()
  %yes : bool = prim::Constant[value=1]()
  %y : Tensor = aten::_convolution(%x, %w, %none, %s, %p, %d, %yes, %o, %g, %yes, %yes, %yes, %yes)
  return (%y)
"""
CONV_TRANSPOSE2D = """
graph(%x : Tensor):
  %w : Float(4, 3, 3, 3) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %s : int[] = prim::Constant[value=[2, 2]]()
  %p : int[] = prim::Constant[value=[1, 1]]()
  %o : int[] = prim::Constant[value=[1, 0]]()
  %g : int = prim::Constant[value=1]()
  %d : int[] = prim::Constant[value=[1, 1]]()
  %y : Tensor = aten::conv_transpose2d(%x, %w, %none, %s, %p, %o, %g, %d)
  return (%y)
"""
MODE = """
graph(%x : Tensor):
  %w : Float({shape}) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %s : int[] = prim::Constant[value=[1, 1]]()
  %mode : str = prim::Constant[value="{mode}"]()
  %g : int = prim::Constant[value=1]()
  %y : Tensor = aten::_convolution_mode(%x, %w, %none, %s, %mode, %s, %g)
  return (%y)
"""
MODE_AFTER = """
graph(%x : Tensor):
  %w : Float({shape}) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
{pad}  %s : int[] = prim::Constant[value=[1, 1]]()
  %p : int[] = prim::Constant[value=[{padding}]]()
  %d : int[] = prim::Constant[value=[1, 1]]()
  %g : int = prim::Constant[value=1]()
  %y : Tensor = aten::conv2d({input}, %w, %none, %s, %p, %d, %g)
  return (%y)
"""
PAD = """  %sizes : int[] = prim::Constant[value=[0, 1, 0, 1]]()
  %zero : int = prim::Constant[value=0]()
  %padded : Tensor = aten::constant_pad_nd(%x, %sizes, %zero)
"""


def test_convolution(check_pass) -> None:
    x = torch.randn(2, 3, 8, 8)
    check_pass("canonicalize-conv", CONVOLUTION, CONV2D, constants=[WEIGHT], inputs=[x])


def test_transposed_convolution(check_pass) -> None:
    x = torch.randn(2, 4, 8, 8)
    check_pass("canonicalize-conv", TRANSPOSED, CONV_TRANSPOSE2D, constants=[WEIGHT], inputs=[x])


def test_canonical_form_stays(check_pass) -> None:
    check_pass(
        "canonicalize-conv", CONV2D, None, constants=[WEIGHT], inputs=[torch.randn(2, 3, 8, 8)]
    )


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("mode", "weight", "padding", "pad"),
    [("same", WEIGHT, "1, 1", ""), ("valid", WEIGHT, "0, 0", ""), ("same", EVEN, "0, 0", PAD)],
)
def test_padding_word(check_pass, mode: str, weight: torch.Tensor, padding: str, pad: str) -> None:
    shape = ", ".join(map(str, weight.shape))
    after = MODE_AFTER.format(
        shape=shape, padding=padding, pad=pad, input="%padded" if pad else "%x"
    )
    check_pass(
        "canonicalize-conv",
        MODE.format(shape=shape, mode=mode),
        after,
        constants=[weight],
        inputs=[torch.randn(2, 3, 8, 8)],
    )


def test_unknown_stride_stays_with_a_reason(check_pass) -> None:
    before = """
graph(%x : Tensor, %w : Tensor, %n : int):
  %none : NoneType = prim::Constant()
  %g : int = prim::Constant[value=1]()
  %s : int[] = prim::ListConstruct(%n, %n)
  %d : int[] = prim::Constant[value=[1, 1]]()
  %y : Tensor = aten::conv2d[iq_reason="the convolution's stride, padding, dilation or kernel size is not constant"](%x, %w, %none, %s, %d, %d, %g)
  return (%y)
"""  # noqa: E501
    check_pass("canonicalize-conv", before, None, inputs=[torch.randn(2, 3, 8, 8), WEIGHT, 2])
