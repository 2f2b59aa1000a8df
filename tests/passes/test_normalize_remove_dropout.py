"""remove-dropout: operators that return their input go."""

from __future__ import annotations

import pytest
import torch

BEFORE = """
graph(%x : Tensor):
  %p : float = prim::Constant[value=0.5]()
  %train : bool = prim::Constant[value={train}]()
  %y : Tensor = {op}(%x, %p, %train)
  %z : Tensor = aten::relu(%y)
  return (%z)
"""
AFTER = """
graph(%x : Tensor):
  %z : Tensor = aten::relu(%x)
  return (%z)
"""


@pytest.mark.parametrize(
    "op", ["aten::dropout", "aten::feature_dropout", "aten::alpha_dropout", "aten::dropout_"]
)
def test_evaluation_dropout_goes(check_pass, op: str) -> None:
    before = BEFORE.format(op=op, train=0)
    check_pass("remove-dropout", before, AFTER, inputs=[torch.randn(4)])


def test_training_dropout_stays(check_pass) -> None:
    before = BEFORE.format(op="aten::dropout", train=1).replace("0.5", "0.")
    check_pass("remove-dropout", before, None, inputs=[torch.randn(4)])


@pytest.mark.parametrize("op", ["aten::detach", "aten::alias"])
def test_aliases_go(check_pass, op: str) -> None:
    before = f"""
graph(%x : Tensor):
  %y : Tensor = {op}(%x)
  %z : Tensor = aten::relu(%y)
  return (%z)
"""
    check_pass("remove-dropout", before, AFTER, inputs=[torch.randn(4)])


def test_contiguous_stays(check_pass) -> None:
    before = """
graph(%x : Tensor):
  %format : int = prim::Constant[value=0]()
  %y : Tensor = aten::contiguous(%x, %format)
  return (%y)
"""
    check_pass("remove-dropout", before, None, inputs=[torch.randn(4)])
