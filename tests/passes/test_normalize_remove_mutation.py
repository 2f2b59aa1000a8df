"""remove-mutation: in-place operators become functional where nothing else sees the write."""

from __future__ import annotations

import torch


def test_every_later_use_reads_the_result(check_pass) -> None:
    before = """
graph(%x : Tensor):
  %c : Tensor = aten::neg(%x)
  %r : Tensor = aten::relu_[iq_ids=[3], iq_site="a/relu/0"](%c)
  %s : Tensor = aten::tanh(%c)
  %t : Tensor = aten::mul(%s, %r)
  return (%t)
"""
    after = """
graph(%x : Tensor):
  %c : Tensor = aten::neg(%x)
  %r : Tensor = aten::relu[iq_ids=[3], iq_site="a/relu/0"](%c)
  %s : Tensor = aten::tanh(%r)
  %t : Tensor = aten::mul(%s, %r)
  return (%t)
"""
    check_pass("remove-mutation", before, after, inputs=[torch.randn(8)])


def test_chain_of_writes(check_pass) -> None:
    before = """
graph(%x : Tensor, %y : Tensor):
  %one : int = prim::Constant[value=1]()
  %a : Tensor = aten::neg(%x)
  %b : Tensor = aten::add_(%a, %y, %one)
  %c : Tensor = aten::sigmoid_(%b)
  return (%a)
"""
    after = """
graph(%x : Tensor, %y : Tensor):
  %one : int = prim::Constant[value=1]()
  %a : Tensor = aten::neg(%x)
  %b : Tensor = aten::add(%a, %y, %one)
  %c : Tensor = aten::sigmoid(%b)
  return (%c)
"""
    check_pass("remove-mutation", before, after, inputs=[torch.randn(8), torch.randn(8)])


def test_gates_of_an_lstm_cell(check_pass) -> None:
    before = """
graph(%x : Tensor):
  %two : int = prim::Constant[value=2]()
  %dim : int = prim::Constant[value=1]()
  %l : Tensor[] = aten::unsafe_chunk(%x, %two, %dim)
  %a : Tensor, %b : Tensor = prim::ListUnpack(%l)
  %c : Tensor = aten::sigmoid_(%a)
  %d : Tensor = aten::tanh_(%b)
  %e : Tensor = aten::mul(%c, %d)
  return (%e)
"""
    after = before.replace("sigmoid_", "sigmoid").replace("tanh_", "tanh")
    check_pass("remove-mutation", before, after, inputs=[torch.randn(3, 8)])


def test_write_to_an_input_stays(check_pass) -> None:
    before = """
graph(%x : Tensor):
  %r : Tensor = aten::relu_[iq_reason="in-place: it writes to an input, attribute or constant of the graph"](%x)
  return (%r)
"""  # noqa: E501
    check_pass("remove-mutation", before, None, inputs=[torch.randn(8)])


def test_write_seen_through_a_view_stays(check_pass) -> None:
    before = """
graph(%x : Tensor):
  %zero : int = prim::Constant[value=0]()
  %a : Tensor = aten::neg(%x)
  %v : Tensor = aten::select(%a, %zero, %zero)
  %r : Tensor = aten::relu_[iq_reason="in-place: a value that shares memory with it is used later"](%v)
  %s : Tensor = aten::add(%a, %r, %zero)
  return (%s)
"""  # noqa: E501
    check_pass("remove-mutation", before, None, inputs=[torch.randn(3, 8)])


def test_copy_stays(check_pass) -> None:
    before = """
graph(%x : Tensor, %y : Tensor):
  %f : bool = prim::Constant[value=0]()
  %a : Tensor = aten::neg(%x)
  %r : Tensor = aten::copy_(%a, %y, %f)
  return (%r)
"""
    check_pass("remove-mutation", before, None, inputs=[torch.randn(8), torch.randn(8)])


def test_a_list_made_later_does_not_tie_its_elements(check_pass) -> None:
    """The branches of an inception block: each ends in an in-place relu, then they are joined."""
    before = """
graph(%x : Tensor):
  %dim : int = prim::Constant[value=1]()
  %a : Tensor = aten::neg(%x)
  %b : Tensor = aten::relu_(%a)
  %c : Tensor = aten::tanh(%x)
  %d : Tensor = aten::relu_(%c)
  %l : Tensor[] = prim::ListConstruct(%b, %d)
  %y : Tensor = aten::cat(%l, %dim)
  return (%y)
"""
    after = before.replace("relu_", "relu")
    check_pass("remove-mutation", before, after, inputs=[torch.randn(2, 3)])
