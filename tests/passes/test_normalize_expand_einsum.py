"""expand-einsum: a batched matrix product becomes a matmul, which keeps its site."""

from __future__ import annotations

import random

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
    operands = equation.replace(" ", "").replace("...", "xy").split("->")[0].split(",")
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


def test_several_rows_and_columns() -> None:
    """The mask heads of DETR; rows of different matrices are one dimension."""
    check(
        "bhqc,bcxy->bhqxy",
        "  %2 = aten::flatten(%1, -2, -1)",
        "  %3 = aten::flatten(%0, -3, -2)",
        "  %4 = aten::matmul(%3, %2)",
        "  %5 = aten::size(%1, 2)",
        "  %6 = aten::size(%1, 3)",
        "  %7 = aten::unflatten(%4, -1, [%5, %6])",
        "  %8 = aten::size(%0, 1)",
        "  %9 = aten::size(%0, 2)",
        "  %10 = aten::unflatten(%7, -3, [%8, %9])",
        "  return (%10)",
    )


def test_several_summed_letters() -> None:
    check(
        "bqhd,bkhd->bqk",
        "  %2 = aten::permute(%1, [0, 2, 3, 1])",
        "  %3 = aten::flatten(%0, -2, -1)",
        "  %4 = aten::flatten(%2, -3, -2)",
        "  %5 = aten::matmul(%3, %4)",
        "  return (%5)",
    )


def test_rows_of_one_matrix_stay_apart() -> None:
    check(
        "...qd,kd->...qk",
        "  %2 = aten::transpose(%1, 0, 1)",
        "  %3 = aten::matmul(%0, %2)",
        "  return (%3)",
    )


def test_ellipsis_is_a_batch() -> None:
    check(
        "...qhd,...khd->...hqk",
        "  %2 = aten::transpose(%0, -3, -2)",
        "  %3 = aten::transpose(%1, -3, -2)",
        "  %4 = aten::transpose(%3, -2, -1)",
        "  %5 = aten::matmul(%2, %4)",
        "  return (%5)",
    )


def test_sizes_are_read_from_the_operands() -> None:
    """That of k from the second; that of b stays, for either may be stretched to the other's."""
    graph = GRAPH.format("bqd,bkd->bqk").replace(
        "  return (%y)",
        """  %minus1 : int = prim::Constant[value=-1]()
  %zero : int = prim::Constant[value=0]()
  %k : int = aten::size(%y, %minus1)
  %n : int = aten::size(%y, %zero)
  %s : Tensor = aten::add(%y, %k, %n)
  return (%s)""",
    )
    after = """graph(%0, %1):
  %2 = aten::transpose(%1, 1, 2)
  %3 = aten::matmul(%0, %2)
  %4 = aten::size(%1, 1)
  %5 = aten::size(%3, 0)
  %6 = aten::add(%3, %4, %5)
  return (%6)"""
    inputs = [torch.randn(2, 3, 4), torch.randn(2, 5, 4)]
    Golden("expand-einsum").check(graph, after, inputs=inputs, tolerance=1e-5)


class Einsum(nn.Module):
    def __init__(self, equation: str) -> None:
        super().__init__()
        self.equation = equation

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.einsum(self.equation, a, b)


@pytest.mark.parametrize(
    "equation",
    [
        *("bid,bjd->bij", "qd,kd->qk", "bcx,bcy->bxy", "bxyc,bxcz->byxz", "xbhi,ybhi->bhxy"),
        *("bhqd,qkd->bhqk", "bqc,bcxy->bqxy", "bxyc,dcz->bxydz", "zbcde,yxcdb->exbyz", "bqd,bkd"),
    ],
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


@pytest.mark.parametrize("equation", ["ij->ij", "ij->i", "ii->i", "...ij->ij...", "...ij->ij"])
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
        ("q...d,k...d->q...k", "no batched matrix product"),
        ("...qd,...kd->qk", "no batched matrix product"),  # the ellipsis is summed
        ("qd,...kd->q...k", "no batched matrix product"),
        ("...bqd,bkd->...bqk", "no batched matrix product"),  # rows of unknown number
    ],
)
def test_others_stay(equation: str, why: str) -> None:
    graph = GRAPH.format(equation)
    result = Golden("expand-einsum").check(graph, None)
    node = next(n for n in result.nodes() if n.kind() == "aten::einsum")
    assert why in node.s("iq_reason")


def random_product(rng: random.Random) -> str:
    """An equation of a batched product with its letters in any order, or with an ellipsis."""
    letters = rng.sample("bhqkdiecxyz", rng.randint(3, 7))
    cuts = sorted(rng.sample(range(1, len(letters)), 2))
    rows, summed, rest = letters[: cuts[0]], letters[cuts[0] : cuts[1]], letters[cuts[1] :]
    columns, batch = rest[:1] + rest[3:], rest[1:3]

    def shuffled(some: list[str]) -> str:
        return "".join(rng.sample(some, len(some)))

    a, b, out = (
        shuffled(some + batch) for some in (rows + summed, summed + columns, rows + columns)
    )
    front = rng.choice(["", "", "..."])
    return f"{front}{a},{front}{b}->{front}{out}"


@pytest.mark.parametrize("seed", range(40))
def test_random_products_run_in_int8(seed: int) -> None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    equation = random_product(rng)
    sizes = {letter: n for n, letter in enumerate("bhqkdijecxyz", start=2)}
    operands = equation.replace("...", "j").split("->")[0].split(",")
    inputs = [torch.rand(*(sizes[x] % 5 + 2 for x in letters)) - 0.3 for letters in operands]
    compiled = Compiled(Einsum(equation), *inputs)
    assert [row["became"] for row in compiled.report] == ["int8"]
    assert "ipex_quant::matmul" in compiled.kinds
    assert compiled.error() < 0.03


class MaskHead(nn.Module):
    """A mask for each query, as MaskFormer has it: a product with each pixel of a feature map."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.pixels = nn.Linear(16, 8), nn.Conv2d(3, 8, 3)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, queries: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        masks = torch.einsum("bqc,bchw->bqhw", self.query(queries), self.pixels(image))
        return self.out(masks)


def test_sizes_are_read_when_the_product_runs() -> None:
    torch.manual_seed(0)
    compiled = Compiled(MaskHead(), torch.randn(2, 4, 16), torch.randn(2, 3, 12, 9))
    assert "ipex_quant::dequantize" not in compiled.kinds
    assert compiled.error() < 0.05
    queries, image = compiled.inputs
    assert compiled.error(queries[:1], image[:1, :, 2:, :7]) < 0.05
