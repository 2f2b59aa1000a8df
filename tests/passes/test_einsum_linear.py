"""expand-einsum: an einsum with a constant operand becomes a linear layer, int8 per channel."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

import ipex_quant
from compile_tools import Compiled, Golden

GRAPH = """graph(%x : Tensor):
  %text : str = prim::Constant[value="{}"]()
  %none : NoneType = prim::Constant()
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %l : Tensor[] = prim::ListConstruct({})
  %y : Tensor = aten::einsum(%text, %l, %none)
  {}
"""
SUM = """%bias : Tensor = prim::Constant[value=<Tensor>]()
  %one : int = prim::Constant[value=1]()
  %s : Tensor = aten::add({}, %one)
  return (%s)"""
SIZES = {letter: n for n, letter in enumerate("ibhndmk", start=2)}


def operands(equation: str) -> list[torch.Tensor]:
    """Random operands of the sizes of their letters; an ellipsis is two dimensions."""
    names = equation.replace("...", "ib").split("->")[0].split(",")
    return [torch.randn(*(SIZES[letter] for letter in letters)) for letters in names]


def check(
    equation: str,
    *body: str,
    weight: int = 1,
    bias: torch.Tensor | None = None,
    tail: str = "return (%y)",
) -> torch._C.Graph:
    """The IR after the pass; operand `weight` is the constant."""
    tensors = operands(equation)
    constants = [tensors[weight]] if bias is None else [tensors[weight], bias]
    graph = GRAPH.format(equation, "%x, %w" if weight == 1 else "%w, %x", tail)
    after = "\n".join(["graph(%0):", *body]) if body else None
    inputs = [tensors[1 - weight]]
    golden = Golden("expand-einsum")
    return golden.check(graph, after, constants=constants, inputs=inputs, tolerance=1e-5)


def test_projection_to_heads() -> None:
    check(
        "ibh,hnd->ibnd",
        "  %1 = aten::linear(%0, <30x4>, None)",
        "  %2 = aten::unflatten(%1, -1, [5, 6])",
        "  return (%2)",
    )


def test_projection_from_heads() -> None:
    check(
        "ibnd,hnd->ibh",
        "  %1 = aten::flatten(%0, -2, -1)",
        "  %2 = aten::linear(%1, <4x30>, None)",
        "  return (%2)",
    )


def test_constant_first() -> None:
    check(
        "hk,bhi->bki",
        "  %1 = aten::transpose(%0, 1, 2)",
        "  %2 = aten::linear(%1, <8x4>, None)",
        "  %3 = aten::transpose(%2, 1, 2)",
        "  return (%3)",
        weight=0,
    )


def test_ellipsis_in_front() -> None:
    check("...h,hk->...k", "  %1 = aten::linear(%0, <8x4>, None)", "  return (%1)")
    check(
        "...hi,hk->...ki",
        "  %1 = aten::transpose(%0, -2, -1)",
        "  %2 = aten::linear(%1, <8x4>, None)",
        "  %3 = aten::transpose(%2, -2, -1)",
        "  return (%3)",
    )


@pytest.mark.parametrize("summands", ["%y, %bias", "%bias, %y"])
def test_bias(summands: str) -> None:
    check(
        "ibh,hnd->ibnd",
        "  %1 = aten::linear(%0, <30x4>, <30>)",
        "  %2 = aten::unflatten(%1, -1, [5, 6])",
        "  return (%2)",
        bias=torch.randn(5, 6),
        tail=SUM.format(summands),
    )


NO_BIAS = {
    "one number per head channel": (
        "ibh,hnd->ibnd",
        "  %1 = aten::linear(%0, <30x4>, None)",
        "  %2 = aten::unflatten(%1, -1, [5, 6])",
        6,
    ),
    "one number per row": (
        "bh,hn->nb",
        "  %1 = aten::linear(%0, <5x4>, None)",
        "  %2 = aten::transpose(%1, 0, 1)",
        3,
    ),
}


@pytest.mark.parametrize("name", list(NO_BIAS))
def test_what_is_no_bias(name: str) -> None:
    equation, linear, moved, size = NO_BIAS[name]
    check(
        equation,
        linear,
        moved,
        f"  %3 = aten::add(%2, <{size}>, 1)",
        "  return (%3)",
        bias=torch.randn(size),
        tail=SUM.format("%y, %bias"),
    )


def test_batch_of_matrices_is_a_product() -> None:
    check(
        "bnh,nhd->bnd",
        "  %1 = aten::transpose(%0, 0, 1)",
        "  %2 = aten::matmul(%1, <5x4x6>)",
        "  %3 = aten::transpose(%2, 0, 1)",
        "  return (%3)",
    )


@pytest.mark.parametrize(
    "equation",
    [
        "ibh,nd->ibhnd",  # nothing is summed
        "ibh,h->ib",  # no column
        "h,hk->k",  # no row
        "h...i,hk->k...i",  # the ellipsis is not in front
    ],
)
def test_others_stay(equation: str) -> None:
    result = check(equation)
    node = next(n for n in result.nodes() if n.kind() == "aten::einsum")
    assert "no batched matrix product" in node.s("iq_reason")


def test_weight_that_einsum_stretches_stays() -> None:
    """A size of 1 meets any size of the other operand."""
    graph = GRAPH.format("ibh,hnk->ibnk", "%x, %w", "return (%y)")
    constants, inputs = [torch.randn(1, 3, 4)], [torch.randn(2, 3, 5)]
    result = Golden("expand-einsum").check(graph, None, constants=constants, inputs=inputs)
    assert "aten::einsum" in {node.kind() for node in result.nodes()}


class Weighted(nn.Module):
    """One einsum with a parameter, operand `weight` of it."""

    def __init__(self, equation: str, weight: int) -> None:
        super().__init__()
        tensors = operands(equation)
        self.equation = equation
        self.first = weight == 0
        self.weight = nn.Parameter(tensors[weight])
        self.example = tensors[1 - weight]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pair = (self.weight, x) if self.first else (x, self.weight)
        return torch.einsum(self.equation, *pair)


def random_equation(rng: random.Random) -> str:
    """An equation of a linear layer with its letters in any order."""
    letters = rng.sample("ibhndmk", rng.randint(3, 6))
    cuts = sorted(rng.sample(range(1, len(letters)), 2))
    rows, summed, columns = letters[: cuts[0]], letters[cuts[0] : cuts[1]], letters[cuts[1] :]

    def shuffled(some: list[str]) -> str:
        return "".join(rng.sample(some, len(some)))

    x, weight = shuffled(rows + summed), shuffled(summed + columns)
    both = f"{x},{weight}" if rng.random() < 0.5 else f"{weight},{x}"
    return f"{both}->{shuffled(rows + columns)}"


@pytest.mark.parametrize("seed", range(40))
def test_random_equations_run_in_int8(seed: int) -> None:
    """Either operand may be the weight; calibration of the graph sees them in their places."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    model = Weighted(random_equation(rng), rng.randrange(2))
    compiled = Compiled(model, model.example)
    (site,) = compiled.sites
    assert [o.name for o in site.operands] == ["tensors.0", "tensors.1"]
    assert [row["became"] for row in compiled.report] == ["int8"]
    assert "ipex_quant::linear" in compiled.kinds
    assert compiled.error() < 0.03


def quantized(model: nn.Module, x: torch.Tensor, qconfig: object) -> torch.jit.ScriptModule:
    prepared = ipex_quant.prepare(model, qconfig, example_inputs=x)
    with torch.no_grad():
        prepared(x)
        return ipex_quant.jit.quantize(torch.jit.trace(prepared, x, check_trace=False))


@pytest.mark.parametrize(
    "qconfig", [ipex_quant.default_static_qconfig, ipex_quant.default_dynamic_qconfig]
)
def test_channels_have_scales_of_their_own(qconfig: object) -> None:
    """One scale for the whole weight would leave nothing of its small channels."""
    torch.manual_seed(0)
    model = Weighted("ibh,hnd->ibnd", 1).eval()
    with torch.no_grad():
        model.weight *= 10.0 ** -torch.arange(5)[:, None]
        x = torch.randn(20, 3, 4)
        wanted, got = model(x), quantized(model, x, qconfig)(x)
    error = (got - wanted).norm(dim=(0, 1)) / wanted.norm(dim=(0, 1))
    assert error.max() < 0.03


def test_dynamic_without_data() -> None:
    """Its summary is made of the graph alone, where the einsum is a linear."""
    torch.manual_seed(0)
    model, x = Weighted("bih,hnd->bind", 1).eval(), torch.randn(5, 3, 4)
    with torch.no_grad():
        traced = torch.jit.trace(model, x)
        int8 = ipex_quant.jit.quantize(traced, ipex_quant.default_dynamic_qconfig)
        assert [row.became for row in ipex_quant.report(int8)] == ["int8"]
        assert (int8(x) - model(x)).norm() / model(x).norm() < 0.03


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_xlnet_is_int8() -> None:
    import transformers

    torch.manual_seed(0)
    config = transformers.XLNetConfig(
        vocab_size=99, d_model=64, n_layer=1, n_head=4, d_inner=96, dropout=0.0
    )
    model = transformers.XLNetModel(config).eval()

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.model(ids, use_mems=False, return_dict=False)[0]

    encoder, ids = Encoder().eval(), torch.randint(0, 99, (2, 16))
    int8 = quantized(encoder, ids, ipex_quant.default_static_qconfig)
    became = [row.became for row in ipex_quant.report(int8) if row.op == "aten::einsum"]
    assert became.count("int8") == 8  # q, k, v, r and o; content and position scores; values
    assert "ipex_quant::attention" in {node.kind() for node in int8.graph.nodes()}
    for x in (ids, torch.randint(0, 99, (3, 11))):
        with torch.no_grad():
            wanted, got = encoder(x), int8(x)
        assert (got - wanted).norm() / wanted.norm() < 0.03
