"""view-to-reshape: view becomes reshape, so that other strides do no harm."""

from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize("op", ["aten::view", "aten::_unsafe_view"])
def test_view_becomes_reshape(check_pass, op: str) -> None:
    before = f"""
graph(%x : Tensor):
  %a : int = prim::Constant[value=2]()
  %b : int = prim::Constant[value=-1]()
  %s : int[] = prim::ListConstruct(%a, %b)
  %y : Tensor = {op}[iq_ids=[1]](%x, %s)
  return (%y)
"""
    after = before.replace(op + "[", "aten::reshape[")
    check_pass("view-to-reshape", before, after, inputs=[torch.randn(4, 6)])


def test_reshape_stays(check_pass) -> None:
    before = """
graph(%x : Tensor):
  %s : int[] = prim::Constant[value=[6, 4]]()
  %y : Tensor = aten::reshape(%x, %s)
  return (%y)
"""
    check_pass("view-to-reshape", before, None, inputs=[torch.randn(4, 6)])
