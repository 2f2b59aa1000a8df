"""merge-linears: linears of one int8 input become one product and a split."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compile_tools import Compiled, Golden
from ipex_quant import _C

PACKED = "__torch__.torch.classes.ipex_quant.PackedLinear"
HEAD = """
graph(%x : Tensor, %other : Tensor):
  %w1 : Char(4, 8) = prim::Constant[value=<Tensor>]()
  %w2 : Char(6, 8) = prim::Constant[value=<Tensor>]()
  %s1 : Float(4) = prim::Constant[value=<Tensor>]()
  %s2 : Float(1) = prim::Constant[value=<Tensor>]()
  %b1 : Float(4) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %s : float = prim::Constant[value=0.5]()
  %z : int = prim::Constant[value=3]()
  %t : float = prim::Constant[value=0.25]()
  %e1 : str = prim::Constant[value="quantize(0.5,7)"]()
  %e2 : str = prim::Constant[value="{epilogue}"]()
  %p1 : {packed} = ipex_quant::linear_prepack(%w1, %s1, %b1, %s, %z, %e1)
  %p2 : {packed} = ipex_quant::linear_prepack(%w2, %s2, %none, {scale}, %z, %e2)
  %l1 : Tensor[] = prim::ListConstruct()
  %l2 : Tensor[] = prim::ListConstruct({tensors})
  %y1 : Tensor = ipex_quant::linear(%x, %p1, %l1)
  %y2 : Tensor = ipex_quant::linear({input}, %p2, %l2)
  %both : (Tensor, Tensor) = prim::TupleConstruct(%y1, %y2)
  return (%both)
"""


def graph(
    epilogue: str = "quantize(0.25,90)", scale: str = "%s", tensors: str = "", reads: str = "%x"
) -> str:
    return HEAD.format(packed=PACKED, epilogue=epilogue, scale=scale, tensors=tensors, input=reads)


def constants() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = [
        torch.randint(-127, 128, (n, 8), dtype=torch.int8, generator=generator) for n in (4, 6)
    ]
    return [*weights, torch.tensor([0.01, 0.02, 0.03, 0.04]), torch.tensor([0.02]), torch.rand(4)]


X = torch.randint(0, 256, (50, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
AFTER = """
graph(%0, %1):
  %2 = ipex_quant::linear_prepack(<10x8>, <10>, <10>, 0.5, 3, 'quantize(0.5,7)')
  %3 = ipex_quant::linear(%0, %2, [])
  %4 = aten::split_with_sizes(%3, [4, 6], -1)
  %5, %6 = prim::ListUnpack(%4)
  %7 = prim::TupleConstruct(%5, %6)
  return (%7)"""


def test_two_linears_of_one_input_become_one() -> None:
    parsed = _C.parse_ir(graph(), constants())
    want = torch._C._create_function_from_graph("forward", parsed.copy())(X, X)
    Golden("merge-linears")._check(graph(), AFTER, constants(), (), None)
    assert _C.run_pass("merge-linears", parsed)
    got = torch._C._create_function_from_graph("forward", parsed.copy())(X, X)
    for a, b in zip(got, want, strict=True):
        difference = (a.int() - b.int()).abs()
        assert difference.max() <= 1
        assert difference.float().mean() < 0.01


def test_inputs_that_are_moved_alike_are_one() -> None:
    before = graph(reads="%x2").replace("linear(%x, %p1", "linear(%x1, %p1")
    moves = "".join(f"  %x{i} : Tensor = aten::flip(%x, %axes)\n" for i in (1, 2))
    axes = "  %axes : int[] = prim::Constant[value=[0]]()\n"
    before = before.replace("  %y1 :", axes + moves + "  %y1 :")
    parsed = _C.parse_ir(before, constants())
    assert _C.run_pass("merge-linears", parsed)
    kinds = [node.kind() for node in parsed.nodes()]
    assert kinds.count("aten::flip") == kinds.count("ipex_quant::linear") == 1


@pytest.mark.parametrize(
    "before",
    [
        graph(epilogue=""),
        graph(epilogue="relu|quantize(0.25,90)"),
        graph(scale="%t"),
        graph(epilogue="add_f32|quantize(0.25,90)", tensors="%other"),
        graph(reads="%other"),
    ],
    ids=["float result", "post-op", "another scale", "reads a tensor", "another input"],
)
def test_others_stay(before: str) -> None:
    Golden("merge-linears")._check(before, None, constants(), (), None)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))
        self.o = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            f(x).reshape(x.shape[0], -1, 4, 4).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        y = torch.softmax(q @ k.transpose(-1, -2) * 0.5, -1) @ v
        return self.o(y.transpose(1, 2).reshape(x.shape))


def test_query_key_and_value_are_one_product() -> None:
    torch.manual_seed(0)
    compiled = Compiled(Attention(), torch.randn(2, 7, 16))
    assert compiled.kinds.count("ipex_quant::linear") == 2
    assert compiled.error() < 0.06
    rows = [row for row in compiled.report if row["op"] == "aten::linear"]
    assert [row["became"] for row in rows] == ["int8"] * 4
