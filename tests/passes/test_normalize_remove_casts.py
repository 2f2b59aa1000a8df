"""remove-casts: casts of float32 to float32 go."""

from __future__ import annotations

import pytest
import torch

WEIGHT = torch.randn(4, 4)
HEAD = """
graph(%x : Tensor):
  %w : Float(4, 4) = prim::Constant[value=<Tensor>]()
  %dim : int = prim::Constant[value=-1]()
  %float : int = prim::Constant[value=6]()
  %double : int = prim::Constant[value=7]()
  %strided : int = prim::Constant[value=0]()
  %cpu : Device = prim::Constant[value="cpu"]()
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %true : bool = prim::Constant[value=1]()
"""
KEPT = """  %l : Tensor = aten::linear(%x, %w, %none)
  %p : Tensor = aten::softmax(%l, %dim, %none)
"""
END = "  %y : Tensor = aten::neg({})\n  return (%y)\n"
AFTER = """
graph(%x : Tensor):
  %w : Float(4, 4) = prim::Constant[value=<Tensor>]()
  %dim : int = prim::Constant[value=-1]()
  %none : NoneType = prim::Constant()
  %l : Tensor = aten::linear(%x, %w, %none)
  %p : Tensor = aten::softmax(%l, %dim, %none)
  %y : Tensor = aten::neg(%p)
  return (%y)
"""


@pytest.mark.parametrize(
    "cast",
    [
        "aten::to(%p, %float, %false, %false, %none)",
        "aten::to(%p, %float, %none, %none, %none, %false, %false, %none)",
        "aten::to(%p, %float, %strided, %cpu, %none, %false, %false, %none)",
        "aten::to(%p, %p, %false, %false, %none)",
        "aten::type_as(%p, %p)",
    ],
)
def test_cast_that_changes_nothing_goes(check_pass, cast: str) -> None:
    before = f"{HEAD}{KEPT}  %c : Tensor = {cast}\n{END.format('%c')}"
    check_pass("remove-casts", before, AFTER, constants=[WEIGHT], inputs=[torch.randn(3, 4)])


@pytest.mark.parametrize(
    "cast",
    [
        "aten::to(%x, %float, %false, %false, %none)",  # a graph input may be of any dtype
        "aten::to(%p, %double, %false, %false, %none)",
        "aten::to(%p, %float, %false, %true, %none)",
        "aten::type_as(%p, %x)",
    ],
)
def test_cast_that_may_change_something_stays(check_pass, cast: str) -> None:
    text = f"{HEAD}{KEPT}  %c : Tensor = {cast}\n  %z : Tensor = aten::add(%c, %p, %dim)\n"
    check_pass(
        "remove-casts",
        text + END.format("%z"),
        None,
        constants=[WEIGHT],
        inputs=[torch.randn(3, 4)],
    )


def test_dtype_is_known_across_moves_and_where(check_pass) -> None:
    """As GPT-2 writes it: parts of one linear, a mask of a float and a number."""
    before = """
graph(%x : Tensor, %m : Tensor):
  %w : Float(4, 4) = prim::Constant[value=<Tensor>]()
  %zero : Float() = prim::Constant[value=<Tensor>]()
  %low : float = prim::Constant[value=-3e38]()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %float : int = prim::Constant[value=6]()
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %l : Tensor = aten::linear(%x, %w, %none)
  %s : Tensor[] = aten::split(%l, %two, %one)
  %a : Tensor, %b : Tensor = prim::ListUnpack(%s)
  %where : Tensor = aten::where(%m, %zero, %low)
  %masked : Tensor = aten::add(%a, %where, %one)
  %c : Tensor = aten::to(%masked, %float, %false, %false, %none)
  %y : Tensor = aten::add(%c, %b, %one)
  return (%y)
"""
    drop = ("aten::to(", "%float : int")
    lines = [line for line in before.splitlines() if not any(text in line for text in drop)]
    after = "\n".join(lines).replace("%c,", "%masked,")
    after = after.replace("  %false : bool = prim::Constant[value=0]()\n", "")
    mask = torch.tensor([[True, False], [True, True], [False, True]])
    inputs = [torch.randn(3, 4), mask]
    constants = [WEIGHT, torch.tensor(0.0)]
    check_pass("remove-casts", before, after, constants=constants, inputs=inputs)
