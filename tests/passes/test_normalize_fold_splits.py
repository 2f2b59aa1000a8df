"""fold-splits: the parts of a constant are constants."""

from __future__ import annotations

import pytest
import torch

WEIGHT = torch.arange(24.0).reshape(6, 4)
BODY = """  %last : int = prim::Constant[value=-1]()
  %y : Tensor = aten::linear(%x, %a, %none)
  %z : Tensor = aten::linear(%x, %b, %none)
  %r : Tensor[] = prim::ListConstruct(%y, %z)
  %q : Tensor = aten::cat(%r, %last)
  return (%q)
"""


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("aten::split_with_sizes(%w, %sizes, %zero)", 2),
        ("aten::split(%w, %sizes, %zero)", 2),
        ("aten::chunk(%w, %two, %zero)", 3),
        ("aten::tensor_split(%w, %two, %zero)", 3),
    ],
)
def test_parts_become_constants(check_pass, split: str, rows: int) -> None:
    parts = [WEIGHT[:rows], WEIGHT[rows:]]
    before = f"""
graph(%x : Tensor):
  %w : Float(6, 4) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %two : int = prim::Constant[value=2]()
  %zero : int = prim::Constant[value=0]()
  %sizes : int[] = prim::Constant[value=[2, 4]]()
  %l : Tensor[] = {split}
  %a : Tensor, %b : Tensor = prim::ListUnpack(%l)
{BODY}"""
    after = f"""
graph(%x : Tensor):
  %none : NoneType = prim::Constant()
  %a : Float({len(parts[0])}, 4) = prim::Constant[value=<Tensor>]()
  %b : Float({len(parts[1])}, 4) = prim::Constant[value=<Tensor>]()
{BODY}"""
    check_pass(
        "fold-splits",
        before,
        after,
        constants=[WEIGHT],
        expected_constants=parts,
        inputs=[torch.randn(5, 4)],
    )


def test_sizes_known_from_their_sum(check_pass) -> None:
    """As torch's attention splits its weight: [E, 2 E] with E a size of the query."""
    parts = [WEIGHT[:2], WEIGHT[2:]]
    before = f"""
graph(%x : Tensor):
  %w : Float(6, 4) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %two : int = prim::Constant[value=2]()
  %zero : int = prim::Constant[value=0]()
  %e : int = aten::size(%x, %zero)
  %t : Tensor = prim::NumToTensor(%e)
  %d : Tensor = aten::mul(%t, %two)
  %i : int = aten::Int(%d)
  %sizes : int[] = prim::ListConstruct(%e, %i)
  %l : Tensor[] = aten::split_with_sizes(%w, %sizes, %zero)
  %a : Tensor, %b : Tensor = prim::ListUnpack(%l)
{BODY}"""
    after = f"""
graph(%x : Tensor):
  %none : NoneType = prim::Constant()
  %a : Float(2, 4) = prim::Constant[value=<Tensor>]()
  %b : Float(4, 4) = prim::Constant[value=<Tensor>]()
{BODY}"""
    check_pass(
        "fold-splits",
        before,
        after,
        constants=[WEIGHT],
        expected_constants=parts,
        inputs=[torch.randn(2, 4)],
    )


def test_split_of_an_input_stays(check_pass) -> None:
    text = """
graph(%x : Tensor):
  %two : int = prim::Constant[value=2]()
  %zero : int = prim::Constant[value=0]()
  %l : Tensor[] = aten::chunk(%x, %two, %zero)
  %a : Tensor, %b : Tensor = prim::ListUnpack(%l)
  %y : Tensor = aten::matmul(%a, %b)
  return (%y)
"""
    check_pass("fold-splits", text, None, inputs=[torch.randn(4, 2)])


def test_parts_that_are_written_stay(check_pass) -> None:
    text = """
graph(%x : Tensor):
  %w : Float(6, 4) = prim::Constant[value=<Tensor>]()
  %two : int = prim::Constant[value=2]()
  %zero : int = prim::Constant[value=0]()
  %l : Tensor[] = aten::chunk(%w, %two, %zero)
  %a : Tensor, %b : Tensor = prim::ListUnpack(%l)
  %false : bool = prim::Constant[value=0]()
  %c : Tensor = aten::copy_(%a, %x, %false)
  %y : Tensor = aten::mul(%c, %b)
  return (%y)
"""
    check_pass("fold-splits", text, None, constants=[WEIGHT.clone()], inputs=[torch.randn(3, 4)])
