"""recognize-norms: root mean square norms written out in simpler ops."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden

TEXT = """graph(%input : Tensor):
  %w0 : Float(8, 4) = prim::Constant[value=<Tensor>]()
  %w : Float(8) = prim::Constant[value=<Tensor>]()
  %two : int = prim::Constant[value=2]()
  %one : int = prim::Constant[value=1]()
  %eps : float = prim::Constant[value=1e-5]()
  %axes : int[] = prim::Constant[value=[-1]]()
  %keep : bool = prim::Constant[value=1]()
  %none : NoneType = prim::Constant()
  %l : Tensor = aten::linear(%input, %w0, %none)
  %x : Tensor = aten::add(%l, %l, %one)
  %p : Tensor = aten::pow(%x, %two)
  %m : Tensor = aten::mean(%p, %axes, %keep, %none)
  %a : Tensor = aten::add(%m, %eps, %one)
  %r : Tensor = aten::rsqrt(%a)
  %n : Tensor = aten::mul(%x, %r)
  %y : Tensor = aten::mul(%w, %n)
  return (%y)
"""
AFTER = """graph(%0):
  %1 = aten::linear(%0, <8x4>, None)
  %2 = aten::add(%1, %1, 1)
  %3 = aten::rms_norm(%2, [8], <8>, 1e-05)
  return (%3)"""
TENSORS = [torch.randn(8, 4), torch.randn(8)]


def check(text: str, after: str | None, tensors: list[torch.Tensor] = TENSORS) -> None:
    inputs = [torch.randn(3, 5, 4)]
    golden = Golden("recognize-norms")
    golden.check(text, after, constants=tensors, inputs=inputs, tolerance=1e-5)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("", ""),
        ("pow(%x, %two)", "mul(%x, %x)"),
        ("mul(%x, %r)", "mul(%r, %x)"),
        ("mul(%w, %n)", "mul(%n, %w)"),
    ],
)
def test_norm_is_found(written: str, instead: str) -> None:
    check(TEXT.replace(written, instead) if written else TEXT, AFTER)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("mul(%x, %r)", "mul(%l, %r)"),  # another x
        ("pow(%x, %two)", "pow(%x, %one)"),
        ("value=[-1]", "value=[1]"),
        ("value=[-1]", "value=[-1, -2]"),
        ("add(%m, %eps, %one)", "add(%m, %eps, %two)"),
        ("mul(%w, %n)", "mul(%n, %n)"),
    ],
)
def test_something_else_stays(written: str, instead: str) -> None:
    assert written in TEXT
    check(TEXT.replace(written, instead), None)


def test_a_weight_that_is_spread_stays() -> None:
    check(TEXT.replace("Float(8) ", "Float(1) "), None, [TENSORS[0], torch.randn(1)])


def test_an_input_that_may_be_of_any_dtype_and_size_stays() -> None:
    text = TEXT.replace("aten::linear(%input, %w0, %none)", "aten::neg(%input)")
    golden = Golden("recognize-norms")
    golden.check(text, None, constants=TENSORS, inputs=[torch.randn(3, 8)])


def test_sizes_are_known_across_residual_sums() -> None:
    """An embedding of any rank, and the sum of it and a linear layer."""
    text = TEXT.replace("aten::add(%l, %l, %one)", "aten::add(%e, %l, %one)").replace(
        "  %x : Tensor",
        """  %table : Float(9, 8) = prim::Constant[value=<Tensor>]()
  %minus : int = prim::Constant[value=-1]()
  %no : bool = prim::Constant[value=0]()
  %e : Tensor = aten::embedding(%table, %ids, %minus, %no, %no)
  %x : Tensor""",
    )
    text = text.replace("graph(%input : Tensor)", "graph(%input : Tensor, %ids : Tensor)")
    after = """graph(%0, %1):
  %2 = aten::linear(%0, <8x4>, None)
  %3 = aten::embedding(<9x8>, %1, -1, False, False)
  %4 = aten::add(%3, %2, 1)
  %5 = aten::rms_norm(%4, [8], <8>, 1e-05)
  return (%5)"""
    inputs = [torch.randn(3, 5, 4), torch.randint(0, 9, (3, 5))]
    golden = Golden("recognize-norms")
    constants = [*TENSORS, torch.randn(9, 8)]
    golden.check(text, after, constants=constants, inputs=inputs, tolerance=1e-5)
