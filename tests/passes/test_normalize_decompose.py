"""decompose: attention and baddbmm become plain products."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ipex_quant import _C

ATTENTION = """
graph(%q : Tensor, %k : Tensor, %v : Tensor):
  %none : NoneType = prim::Constant()
  %zero : float = prim::Constant[value=0.]()
  %no : bool = prim::Constant[value=0]()
  %scale : float = prim::Constant[value=0.5]()
  %y : Tensor = aten::scaled_dot_product_attention[iq_ids=[7], iq_site="a/sdpa/0"](%q, %k, %v, %none, %zero, %no, %scale, %no)
  return (%y)
"""  # noqa: E501
PRODUCTS = """
graph(%q : Tensor, %k : Tensor, %v : Tensor):
  %none : NoneType = prim::Constant()
  %scale : float = prim::Constant[value=0.5]()
  %m2 : int = prim::Constant[value=-2]()
  %m1 : int = prim::Constant[value=-1]()
  %t : Tensor = aten::transpose(%k, %m2, %m1)
  %s : Tensor = aten::matmul[iq_role="qk", iq_ids=[7], iq_site="a/sdpa/0"](%q, %t)
  %c : Tensor = aten::mul(%s, %scale)
  %d : int = prim::Constant[value=-1]()
  %dtype : NoneType = prim::Constant()
  %p : Tensor = aten::softmax(%c, %d, %dtype)
  %y : Tensor = aten::matmul[iq_role="pv", iq_ids=[7], iq_site="a/sdpa/0"](%p, %v)
  return (%y)
"""
BADDBMM = """
graph(%i : Tensor, %a : Tensor, %b : Tensor):
  %beta : int = prim::Constant[value={beta}]()
  %alpha : float = prim::Constant[value=0.5]()
  %y : Tensor = aten::baddbmm[iq_ids=[7], iq_site="a/baddbmm/0"](%i, %a, %b, %beta, %alpha)
  return (%y)
"""
SUM = """
graph(%i : Tensor, %a : Tensor, %b : Tensor):
  %alpha : float = prim::Constant[value=0.5]()
  %p : Tensor = aten::matmul[iq_ids=[7], iq_site="a/baddbmm/0"](%a, %b)
  %s : Tensor = aten::mul(%p, %alpha)
  %one : int = prim::Constant[value=1]()
  %y : Tensor = aten::add(%s, %i, %one)
  return (%y)
"""


def test_attention(check_pass) -> None:
    inputs = [torch.randn(2, 4, 5, 8), torch.randn(2, 4, 6, 8), torch.randn(2, 4, 6, 8)]
    after = PRODUCTS.replace("  %none : NoneType = prim::Constant()\n", "", 1)
    check_pass("decompose", ATTENTION, after, inputs=inputs)


def test_dropout_stays_with_a_reason(check_pass) -> None:
    before = ATTENTION.replace("value=0.]", "value=1.]").replace(
        "iq_site=", 'iq_reason="attention with dropout", iq_site='
    )
    inputs = [torch.randn(2, 4, 5, 8), torch.randn(2, 4, 6, 8), torch.zeros(2, 4, 6, 8)]
    check_pass("decompose", before, None, inputs=inputs)


def test_baddbmm(check_pass) -> None:
    inputs = [torch.randn(2, 3, 4), torch.randn(2, 3, 5), torch.randn(2, 5, 4)]
    check_pass("decompose", BADDBMM.format(beta=1), SUM, inputs=inputs)


def test_baddbmm_that_ignores_its_input() -> None:
    graph = _C.parse_ir(BADDBMM.format(beta=0))
    _C.run_pass("decompose", graph)
    assert "aten::add" not in _C.canonical(graph)


class Attention(nn.Module):
    def __init__(self, **kwargs: object) -> None:
        super().__init__()
        self.kwargs = kwargs

    def forward(self, q, k, v, *mask):
        return F.scaled_dot_product_attention(q, k, v, *mask, **self.kwargs)


BOOL_MASK = torch.rand(2, 1, 5, 6) > 0.5
BOOL_MASK[0, 0, 0] = False
FLOAT_MASK = torch.randn(5, 6)
INFINITE_MASK = torch.zeros(5, 6)
INFINITE_MASK[0] = -math.inf


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize(
    ("kwargs", "mask", "kv_heads"),
    [
        ({}, (), 4),
        ({"is_causal": True}, (), 4),
        ({"scale": 0.3}, (), 4),
        ({}, (FLOAT_MASK,), 4),
        ({}, (INFINITE_MASK,), 4),
        ({}, (BOOL_MASK,), 4),
        ({"enable_gqa": True}, (), 2),
    ],
)
def test_numbers(kwargs: dict, mask: tuple, kv_heads: int, saved: bool, reload) -> None:
    q, k, v = (
        torch.randn(2, 4, 5, 8),
        torch.randn(2, kv_heads, 6, 8),
        torch.randn(2, kv_heads, 6, 8),
    )
    traced = torch.jit.trace(Attention(**kwargs).eval(), (q, k, v, *mask))
    if saved:  # the file has lost the dtype of the mask
        traced = reload(traced)
    module, _ = _C.normalize(traced._c)
    module = torch.jit._recursive.wrap_cpp_module(module)
    assert not module.graph.findAllNodes("aten::scaled_dot_product_attention")
    torch.testing.assert_close(module(q, k, v, *mask), traced(q, k, v, *mask))
