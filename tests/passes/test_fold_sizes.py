"""fold-sizes: a size that follows from the weights becomes a number."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compile_tools import Compiled, Golden

BEFORE = """graph(%input : Tensor):
  %w : Float(24, 4) = prim::Constant[value=<Tensor>]()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %three : int = prim::Constant[value=3]()
  %rest : int = prim::Constant[value=-1]()
  %power : float = prim::Constant[value=-0.5]()
  %none : NoneType = prim::Constant()
  %l : Tensor = aten::linear(%input, %w, %none)
  %s : int[] = prim::ListConstruct(%rest, %three, %size)
  %x : Tensor = aten::reshape(%l, %s)
  %parts : Tensor[] = aten::unbind(%x, %one)
  %a : Tensor, %b : Tensor, %c : Tensor = prim::ListUnpack(%parts)
  %n : int = aten::size(%b, %rest)
  %f : float = aten::pow(%n, %power)
  %y : Tensor = aten::mul(%c, %f)
  return (%y)
"""
FOLDED = """graph(%0):
  %1 = aten::linear(%0, <24x4>, None)
  %2 = aten::reshape(%1, [-1, 3, 8])
  %3 = aten::unbind(%2, 1)
  %4, %5, %6 = prim::ListUnpack(%3)
  %7 = aten::mul(%6, 0.353553)
  return (%7)"""


def text(size: int) -> str:
    """The graph with the last size of its reshape."""
    given = f"  %size : int = prim::Constant[value={size}]()\n"
    return BEFORE.replace("  %l :", given + "  %l :")


def check(before: str, after: str | None) -> None:
    golden = Golden("fold-sizes")
    golden.check(before, after, constants=[torch.randn(24, 4)], inputs=[torch.randn(5, 4)])


def test_size_and_arithmetic_are_folded() -> None:
    check(
        text(8),
        FOLDED,
    )


def test_arithmetic_in_tensors_is_folded() -> None:
    """As a trace writes `x.shape[-1] // 3`, on whose result other sizes depend."""
    sizes = """  %width : int = aten::size(%l, %rest)
  %wt : Tensor = prim::NumToTensor(%width)
  %st : Tensor = aten::floor_divide(%wt, %three)
  %size : int = aten::Int(%st)
  %s : int[]"""
    check(
        BEFORE.replace("  %s : int[]", sizes),
        FOLDED,
    )


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("aten::size(%b, %rest)", "aten::size(%b, %zero)"),  # the batch
        ("aten::unbind(%x, %one)", "aten::tensor_split(%x, %three, %one)"),  # no rule
    ],
)
def test_what_is_not_proven_stays(written: str, instead: str) -> None:
    check(text(8).replace(written, instead), None)


def test_indices_are_no_sizes() -> None:
    before = """graph(%input : Tensor):
  %w : Float(24, 4) = prim::Constant[value=<Tensor>]()
  %one : int = prim::Constant[value=1]()
  %at : int[] = prim::Constant[value=[4, 20]]()
  %shape : int[] = prim::Constant[value=[-1, 24]]()
  %none : NoneType = prim::Constant()
  %l : Tensor = aten::linear(%input, %w, %none)
  %x : Tensor = aten::reshape(%l, %shape)
  %parts : Tensor[] = aten::tensor_split(%x, %at, %one)
  %a : Tensor, %b : Tensor, %c : Tensor = prim::ListUnpack(%parts)
  %n : int = aten::size(%b, %one)
  %y : Tensor = aten::mul(%c, %n)
  return (%y)
"""
    check(before, None)


def test_sizes_of_grids_are_not_known() -> None:
    before = """graph(%a : Tensor, %b : Tensor):
  %one : int = prim::Constant[value=1]()
  %how : str = prim::Constant[value="ij"]()
  %both : Tensor[] = prim::ListConstruct(%a, %b)
  %grids : Tensor[] = aten::meshgrid(%both, %how)
  %x : Tensor, %y : Tensor = prim::ListUnpack(%grids)
  %n : int = aten::size(%x, %one)
  %z : Tensor = aten::mul(%y, %n)
  return (%z)
"""
    inputs = [torch.randn(3), torch.randn(4)]
    Golden("fold-sizes").check(before, None, constants=[], inputs=inputs)


@pytest.mark.parametrize(("end", "folded"), [("int", 3), ("float", None)])
def test_a_range_may_end_at_a_fraction(end: str, folded: int | None) -> None:
    value = "3" if end == "int" else "2.5"  # both have three values
    before = f"""graph(%x : Tensor):
  %zero : int = prim::Constant[value=0]()
  %end : {end} = prim::Constant[value={value}]()
  %none : NoneType = prim::Constant()
  %r : Tensor = aten::arange(%end, %none, %none, %none, %none)
  %n : int = aten::size(%r, %zero)
  %y : Tensor = aten::mul(%x, %n)
  return (%y)
"""
    after = f"""graph(%0):
  %1 = aten::arange({value}, None, None, None, None)
  %2 = aten::mul(%0, {folded})
  return (%2)"""
    inputs = [torch.randn(2)]
    golden = Golden("fold-sizes")
    golden.check(before, after if folded else None, constants=[], inputs=inputs)


@pytest.mark.parametrize(("dim", "folded"), [(-1, True), (2, False)])
def test_a_pooled_image_may_have_no_batch(dim: int, folded: bool) -> None:
    """Dimension 2 is the width of an image and the height of a batch of them."""
    before = f"""graph(%x : Tensor):
  %dim : int = prim::Constant[value={dim}]()
  %out : int[] = prim::Constant[value=[4, 5]]()
  %y : Tensor = aten::adaptive_avg_pool2d(%x, %out)
  %n : int = aten::size(%y, %dim)
  %r : Tensor = aten::mul(%y, %n)
  return (%r)
"""
    after = """graph(%0):
  %1 = aten::adaptive_avg_pool2d(%0, [4, 5])
  %2 = aten::mul(%1, 5)
  return (%2)"""
    golden = Golden("fold-sizes")
    golden.check(before, after if folded else None, constants=[], inputs=[torch.randn(3, 9, 9)])


class Tokens(nn.Module):
    """Patches and a class token, as vision transformers begin; heads by one projection."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        self.position = nn.Parameter(torch.randn(1, 5, 32))
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        n, tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, 4, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(y.transpose(1, 2).reshape(n, tokens, width))


def test_attention_of_computed_head_size_is_fused() -> None:
    """Its scale and the residual need the sizes of the tokens."""
    compiled = Compiled(Tokens(), torch.randn(2, 3, 8, 8))
    kinds = [node.kind() for node in compiled.module.graph.nodes()]
    assert kinds.count("ipex_quant::attention") == 1
    assert kinds.count("aten::add") == 1, "the residual add is part of the linear"
    assert not {"aten::pow", "aten::mul"} & set(kinds)
    more = torch.randn(5, 3, 8, 8)
    assert compiled.module(more).shape == (5, 5, 32)
