"""remove-casts: casts to float32 of what is float32 go."""

from __future__ import annotations

import pytest
import torch

HEAD = """
graph(%x : Tensor):
  %float : int = prim::Constant[value=6]()
  %double : int = prim::Constant[value=7]()
  %false : bool = prim::Constant[value=0]()
  %true : bool = prim::Constant[value=1]()
  %none : NoneType = prim::Constant()
  %contiguous : int = prim::Constant[value=0]()
  %cpu : Device = prim::Constant[value="cpu"]()
  %y : Tensor = aten::sigmoid(%x)"""
AFTER = """
graph(%x : Tensor):
  %y : Tensor = aten::sigmoid(%x)
  %r : Tensor = aten::maximum(%y, %y)
  return (%r)
"""


def graph(cast: str) -> str:
    return f"{HEAD}\n  %z : Tensor = {cast}\n  %r : Tensor = aten::maximum(%z, %y)\n  return (%r)\n"


@pytest.mark.parametrize(
    "cast",
    [
        "aten::to(%y, %float, %false, %false, %none)",
        "aten::to(%y, %float, %true, %false, %none)",
        "aten::to(%y, %float, %none, %none, %none, %false, %false, %none)",
        "aten::type_as(%y, %y)",
    ],
)
def test_cast_that_changes_nothing_goes(check_pass, cast: str) -> None:
    check_pass("remove-casts", graph(cast), AFTER, inputs=[torch.randn(4)])


@pytest.mark.parametrize(
    "cast",
    [
        "aten::to(%x, %float, %false, %false, %none)",  # of an unknown dtype
        "aten::to(%y, %double, %false, %false, %none)",
        "aten::to(%y, %float, %false, %true, %none)",  # copies
        "aten::to(%y, %float, %false, %false, %contiguous)",
        "aten::to(%y, %cpu, %float, %false, %false, %none)",
        "aten::type_as(%y, %x)",
    ],
)
def test_cast_that_stays(check_pass, cast: str) -> None:
    used = ("%float", "%double", "%false", "%true", "%none", "%contiguous", "%cpu")
    before = "\n".join(
        line
        for line in graph(cast).split("\n")
        if not any(line.startswith(f"  {name} :") and name not in cast for name in used)
    )
    check_pass("remove-casts", before, None, inputs=[torch.randn(4)])
