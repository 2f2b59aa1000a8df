"""The plan of insert-quant-dequant: batch norms between int8 ops, values read in parts."""

from __future__ import annotations

import torch

from compile_tools import ir, site
from ipex_quant import _C
from test_insert_quant_dequant import CONSTANTS, TENSORS, conv, graph, inserted, linear, op


def test_part_beside_a_cat_of_the_whole_does_not_set_its_range() -> None:
    """The cat reads halves that the relu's site has not seen: the range holds the cat's, too."""
    text = graph(
        linear("a", "x", "a"),
        "  %p : Tensor[] = aten::chunk(%a, %two, %minus1)",
        "  %b : Tensor, %c : Tensor = prim::ListUnpack(%p)",
        op("r", "relu(%c)", "r"),
        "  %l : Tensor[] = prim::ListConstruct(%b, %r)",
        op("c", "cat(%l, %minus1)", "j"),
        linear("d", "j", "y"),
    )
    # relu reads 0 .. 0.255, the linear behind the cat -2 .. 0.55
    got = inserted(
        text,
        site("a/linear/0", input=(0.5, 1)),
        site("r/relu/0", input=(0.001, 0)),
        site("c/cat/0", tensors_0=(1.0, 11), tensors_1=(1.0, 12)),
        site("d/linear/0", input=(0.01, 200)),
    )
    assert "0.001, 0)" not in got
    assert got.count("0.01, 200)") == 6  # pairs of the linear's result, the relu's and the cat's


def test_batch_norm_between_int8_ops_is_a_convolution() -> None:
    """relu -> batch_norm -> relu -> conv; the weight of the norm is exact."""
    torch.manual_seed(0)
    norms = """
  %g : Float(8) = prim::Constant[value=<Tensor>]()
  %v : Float(8) = prim::Constant[value=<Tensor>]()"""
    text = graph(
        conv("a", "x", "a"),
        op("b", "relu(%a)", "b"),
        op("n", "batch_norm(%b, %g, %none, %g, %v, %false, %eps, %eps, %false)", "n"),
        op("r", "relu(%n)", "r"),
        conv("c", "r", "y"),
    ).replace(CONSTANTS, CONSTANTS + norms)
    gamma = torch.tensor([1.5, -2.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0])
    tensors = [torch.randn_like(tensor) for tensor in TENSORS]
    parsed = _C.parse_ir(text, [*tensors, gamma, torch.rand(8) + 0.5])
    before = parsed.copy()
    params = [
        site("a/conv/0", input=(0.02, 128)),
        site("b/relu/0", input=(0.02, 128)),
        site("n/batch_norm/0", input=(0.25, 0)),
        site("r/relu/0", input=(2.0, 128)),
        site("c/conv/0", input=(1.0, 0)),
    ]
    assert _C.run_compile_pass("insert-quant-dequant", parsed, params)
    lines = ir(parsed).split("\n")
    assert not any("batch_norm" in line for line in lines)
    assert sum("aten::conv2d" in line for line in lines) == 3
    assert sum("ipex_quant::quantize(" in line for line in lines) == 3
    run = {
        name: torch._C._create_function_from_graph("forward", g)
        for name, g in (("before", before), ("after", parsed))
    }
    x = torch.rand(2, 8, 6, 6) * 2 - 1
    with torch.no_grad():
        wanted, got = run["before"](x), run["after"](x)
    assert ((wanted - got).norm() / wanted.norm()).item() < 0.1


def test_batch_norm_of_unknown_rank_stays_float_and_says_why() -> None:
    text = graph(
        op("n", "batch_norm(%x, %g, %none, %g, %g, %false, %eps, %eps, %false)", "n"),
        linear("l", "n", "y"),
    ).replace(CONSTANTS, f"{CONSTANTS}\n  %g : Float(8) = prim::Constant[value=<Tensor>]()")
    parsed = _C.parse_ir(text, [*TENSORS, torch.ones(8)])
    params = [site("n/batch_norm/0", input=(0.1, 0)), site("l/linear/0", input=(0.1, 0))]
    _C.run_compile_pass("insert-quant-dequant", parsed, params)
    (norm,) = [n for n in parsed.nodes() if n.kind() == "aten::batch_norm"]
    assert norm.s("iq_reason").startswith("the number of dimensions of its input")
