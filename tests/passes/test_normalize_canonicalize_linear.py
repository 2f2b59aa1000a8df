"""canonicalize-linear: products with a constant matrix become aten::linear."""

from __future__ import annotations

import torch

MATRIX = torch.randn(3, 5)
BIAS = torch.randn(5)
LINEAR = """
graph(%x : Tensor):
  %w : Float(5, 3) = prim::Constant[value=<Tensor>]()
  %b : Float(5) = prim::Constant[value=<Tensor>]()
  %y : Tensor = aten::linear[iq_ids={ids}, iq_site="{site}"](%x, %w, %b)
  return (%y)
"""


def test_addmm(check_pass) -> None:
    before = """
graph(%x : Tensor):
  %w : Float(3, 5) = prim::Constant[value=<Tensor>]()
  %b : Float(5) = prim::Constant[value=<Tensor>]()
  %one : int = prim::Constant[value=1]()
  %y : Tensor = aten::addmm[iq_ids=[0], iq_site="c/addmm/0"](%b, %x, %w, %one, %one)
  return (%y)
"""
    check_pass(
        "canonicalize-linear",
        before,
        LINEAR.format(ids="[0]", site="c/addmm/0"),
        constants=[MATRIX, BIAS],
        expected_constants=[MATRIX.t().contiguous(), BIAS],
        inputs=[torch.randn(4, 3)],
    )


def test_matmul_and_add(check_pass) -> None:
    before = """
graph(%x : Tensor):
  %w : Float(3, 5) = prim::Constant[value=<Tensor>]()
  %b : Float(5) = prim::Constant[value=<Tensor>]()
  %one : int = prim::Constant[value=1]()
  %p : Tensor = aten::matmul[iq_ids=[0], iq_site="c/matmul/0"](%x, %w)
  %y : Tensor = aten::add[iq_ids=[1], iq_site="c/add/0"](%p, %b, %one)
  return (%y)
"""
    check_pass(
        "canonicalize-linear",
        before,
        LINEAR.format(ids="[0, 1]", site="c/matmul/0"),
        constants=[MATRIX, BIAS],
        expected_constants=[MATRIX.t().contiguous(), BIAS],
        inputs=[torch.randn(2, 4, 3)],
    )


def test_product_that_is_used_twice_keeps_its_add(check_pass) -> None:
    before = """
graph(%x : Tensor):
  %w : Float(5, 3) = prim::Constant[value=<Tensor>]()
  %b : Float(5) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %one : int = prim::Constant[value=1]()
  %p : Tensor = aten::linear(%x, %w, %none)
  %y : Tensor = aten::add(%p, %b, %one)
  %z : Tensor = aten::mul(%p, %y)
  return (%z)
"""
    constants = [MATRIX.t().contiguous(), BIAS]
    check_pass("canonicalize-linear", before, None, constants=constants, inputs=[torch.randn(2, 3)])


def test_product_of_two_activations_stays(check_pass) -> None:
    before = """
graph(%x : Tensor, %y : Tensor):
  %z : Tensor = aten::matmul(%x, %y)
  return (%z)
"""
    check_pass("canonicalize-linear", before, None, inputs=[torch.randn(2, 3), torch.randn(3, 2)])


def test_addmm_of_activations_has_a_reason(check_pass) -> None:
    before = """
graph(%x : Tensor, %y : Tensor, %b : Tensor):
  %one : int = prim::Constant[value=1]()
  %z : Tensor = aten::addmm[iq_reason="the matrix of addmm is not a constant"](%b, %x, %y, %one, %one)
  return (%z)
"""  # noqa: E501
    inputs = [torch.randn(2, 3), torch.randn(3, 2), torch.randn(2)]
    check_pass("canonicalize-linear", before, None, inputs=inputs)
