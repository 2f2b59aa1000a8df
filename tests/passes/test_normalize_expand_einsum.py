"""expand-einsum: a batched matrix product becomes a matmul, which keeps its site."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ipex_quant
from compile_tools import Compiled, Golden

GRAPH = """graph(%a : Tensor, %b : Tensor):
  %text : str = prim::Constant[value="{}"]()
  %none : NoneType = prim::Constant()
  %l : Tensor[] = prim::ListConstruct(%a, %b)
  %y : Tensor = aten::einsum(%text, %l, %none)
  return (%y)
"""


def check(equation: str, *body: str) -> None:
    sizes = {letter: n for n, letter in enumerate("bhqkdiecxyz", start=2)}
    operands = equation.replace(" ", "").split("->")[0].split(",")
    inputs = [torch.randn(*(sizes[letter] for letter in letters)) for letters in operands]
    after = "\n".join(["graph(%0, %1):", *body]) if body else None
    Golden("expand-einsum").check(GRAPH.format(equation), after, inputs=inputs, tolerance=1e-5)


def test_scores() -> None:
    check(
        "bqhd,bkhd->bhqk",
        "  %2 = aten::transpose(%0, 1, 2)",
        "  %3 = aten::transpose(%1, 1, 2)",
        "  %4 = aten::transpose(%3, -2, -1)",
        "  %5 = aten::matmul(%2, %4)",
        "  return (%5)",
    )


def test_weighted_values() -> None:
    check(
        "b h q k, b k h d -> b q h d",
        "  %2 = aten::transpose(%1, 1, 2)",
        "  %3 = aten::matmul(%0, %2)",
        "  %4 = aten::transpose(%3, 1, 2)",
        "  return (%4)",
    )


class Einsum(nn.Module):
    def __init__(self, equation: str) -> None:
        super().__init__()
        self.equation = equation

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.einsum(self.equation, a, b)


@pytest.mark.parametrize(
    "equation", ["bid,bjd->bij", "qd,kd->qk", "bcx,bcy->bxy", "bxyc,bxcz->byxz", "xbhi,ybhi->bhxy"]
)
def test_runs_in_int8(equation: str) -> None:
    """Calibration of the graph sees the product as an einsum of its operands."""
    sizes = {letter: n for n, letter in enumerate("bhqkdijecxyz", start=2)}
    operands = equation.split("->")[0].split(",")
    torch.manual_seed(0)
    inputs = [torch.randn(*(sizes[letter] for letter in letters)) for letters in operands]
    compiled = Compiled(Einsum(equation), *inputs)
    (site,) = compiled.sites
    assert [o.name for o in site.operands] == ["tensors.0", "tensors.1"]
    assert [row["became"] for row in compiled.report] == ["int8"]
    assert compiled.error() < 0.03


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(32, 96)
        self.out = nn.Linear(32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (y.unflatten(-1, (4, 8)) for y in self.qkv(x).chunk(3, -1))
        weights = (torch.einsum("bqhd,bkhd->bhqk", q, k) * 8**-0.5).softmax(-1)
        return self.out(torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2))


def test_implicit_result() -> None:
    check(
        "qd,dk",
        "  %2 = aten::matmul(%0, %1)",
        "  %3 = aten::transpose(%2, 0, 1)",  # k comes before q
        "  return (%3)",
    )


def test_one_operand_is_moved() -> None:
    graph = GRAPH.replace("ListConstruct(%a, %b)", "ListConstruct(%a)").format("ijbn->bnij")
    inputs = [torch.randn(2, 3, 4, 5), torch.randn(1)]
    after = "graph(%0, %1):\n  %2 = aten::permute(%0, [2, 3, 0, 1])\n  return (%2)"
    Golden("expand-einsum").check(graph, after, inputs=inputs)


@pytest.mark.parametrize("equation", ["ij->ij", "ij->i", "ii->i", "...ij->...ji"])
def test_other_single_operands_stay(equation: str) -> None:
    graph = GRAPH.replace("ListConstruct(%a, %b)", "ListConstruct(%a)").format(equation)
    result = Golden("expand-einsum").check(graph, None)
    node = next(n for n in result.nodes() if n.kind() == "aten::einsum")
    assert node.hasAttribute("iq_reason")


def test_attention_is_one_operator() -> None:
    torch.manual_seed(0)
    model, x = Attention().eval(), torch.randn(2, 9, 32)
    prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, example_inputs=x)
    with torch.no_grad():
        for _ in range(3):
            prepared(torch.randn(2, 9, 32))
        prepared(x)
        traced = torch.jit.trace(prepared, x, check_trace=False)
        quantized = ipex_quant.jit.quantize(traced)
        error = (quantized(x) - model(x)).norm() / model(x).norm()
    became = {row.op: row.became for row in ipex_quant.report(quantized)}
    assert became["aten::einsum"] == became["aten::linear"] == "int8"
    assert "ipex_quant::attention" in {node.kind() for node in quantized.graph.nodes()}
    assert error < 0.04


@pytest.mark.parametrize(
    ("equation", "why"),
    [
        ("bq,bk->bqk", "no batched matrix product"),  # an outer product
        ("bqd,bkd->bq", "no batched matrix product"),  # k is summed alone
        ("bqq,bqk->bk", "no batched matrix product"),  # a diagonal
        ("...qd,...kd->...qk", "no batched matrix product"),
        ("bqd,bkd", "no batched matrix product"),  # implicit result: b is summed
    ],
)
def test_others_stay(equation: str, why: str) -> None:
    graph = GRAPH.format(equation)
    result = Golden("expand-einsum").check(graph, None)
    node = next(n for n in result.nodes() if n.kind() == "aten::einsum")
    assert why in node.s("iq_reason")
