"""insert-quant-dequant and its plan: what is quantized, where, with which qparams."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden, ir, site
from ipex_quant import _C

CONSTANTS = """
  %w : Float(8, 8) = prim::Constant[value=<Tensor>]()
  %k : Float(8, 8, 3, 3) = prim::Constant[value=<Tensor>]()
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %true : bool = prim::Constant[value=1]()
  %minus1 : int = prim::Constant[value=-1]()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %ones : int[] = prim::Constant[value=[1, 1]]()
  %dims : int[] = prim::Constant[value=[2, 3]]()
  %shape : int[] = prim::Constant[value=[-1, 8]]()
  %eps : float = prim::Constant[value=1e-05]()
  %last : int[] = prim::Constant[value=[8]]()"""
TENSORS = [torch.randn(8, 8), torch.randn(8, 8, 3, 3)]


def conv(name: str, x: str, y: str) -> str:
    return (
        f'  %{y} : Tensor = aten::conv2d[iq_site="{name}/conv/0"]'
        f"(%{x}, %k, %none, %ones, %ones, %ones, %one)"
    )


def linear(name: str, x: str, y: str) -> str:
    return f'  %{y} : Tensor = aten::linear[iq_site="{name}/linear/0"](%{x}, %w, %none)'


def op(name: str, call: str, y: str) -> str:
    kind = call.split("(")[0]
    return f'  %{y} : Tensor = aten::{kind}[iq_site="{name}/{kind}/0"]({call.split("(", 1)[1]}'


def graph(*lines: str, result: str = "y") -> str:
    return "\n".join([f"graph(%x : Tensor):{CONSTANTS}", *lines, f"  return (%{result})\n"])


def weight(number: int, tensor: str = "8x8") -> str:
    return (
        f"  %{number} = ipex_quant::quantize_weight(<{tensor}>, <8>, 0)\n"
        f"  %{number + 1} = ipex_quant::dequantize_weight(%{number}, <8>, 0)\n"
    )


def inserted(text: str, *sites: _C.SiteParams) -> str:
    """Compute lines after insertion, without those of the weights."""
    parsed = _C.parse_ir(text, TENSORS)
    _C.run_compile_pass("insert-quant-dequant", parsed, list(sites))
    lines = ir(parsed).split("\n")
    return "\n".join(line for line in lines if "_weight(" not in line)


def test_linear() -> None:
    before = graph(linear("fc", "x", "y"))
    after = (
        "graph(%0):\n"
        + weight(1)
        + """  %3 = ipex_quant::quantize(%0, 0.5, 128)
  %4 = ipex_quant::dequantize(%3, 0.5, 128)
  %5 = aten::linear(%4, %2, None)
  return (%5)"""
    )
    golden = Golden("insert-quant-dequant", [site("fc/linear/0", input=(0.5, 128))])
    result = golden.check(before, after, constants=TENSORS)
    x = torch.randn(16, 8) * 10
    expected = torch.nn.functional.linear(
        torch.fake_quantize_per_tensor_affine(x, 0.5, 128, 0, 255),
        torch.fake_quantize_per_channel_affine(
            TENSORS[0], TENSORS[0].abs().amax(1) / 127, torch.zeros(8), 0, -127, 127
        ),
    )
    function = torch._C._create_function_from_graph("forward", result)
    torch.testing.assert_close(function(x), expected)


def test_nothing_without_an_int8_site() -> None:
    before = graph(linear("fc", "x", "y"))
    kept = _C.SiteParams("fc/linear/0", int8=False, reason="kept by the test")
    result = Golden("insert-quant-dequant", [kept]).check(before, None, constants=TENSORS)
    node = next(n for n in result.nodes() if n.kind() == "aten::linear")
    assert node.s("iq_reason") == "kept by the test"


def test_weight_scales_bias_correction_and_channel_factor() -> None:
    factor = torch.rand(8) + 0.5
    scales = torch.full((8,), 0.125)
    correction = torch.randn(8)
    params = _C.SiteParams(
        "fc/linear/0",
        int8=True,
        operands=[
            _C.OperandParams("input", scale=0.5, zero_point=128, channel_factor=factor),
            _C.OperandParams("weight", kind="weight", scales=scales),
        ],
        bias_correction=correction,
    )
    parsed = _C.parse_ir(graph(linear("fc", "x", "y")), TENSORS)
    assert _C.run_compile_pass("insert-quant-dequant", parsed, [params])
    assert ir(parsed) == (
        "graph(%0):\n"
        + weight(1)
        + """  %3 = aten::mul(%0, <8>)
  %4 = ipex_quant::quantize(%3, 0.5, 128)
  %5 = ipex_quant::dequantize(%4, 0.5, 128)
  %6 = aten::linear(%5, %2, <8>)
  return (%6)"""
    )
    x = torch.randn(16, 8) * 10
    expected = torch.nn.functional.linear(
        torch.fake_quantize_per_tensor_affine(x / factor, 0.5, 128, 0, 255),
        torch.fake_quantize_per_channel_affine(
            TENSORS[0] * factor, scales, torch.zeros(8), 0, -127, 127
        ),
        correction,
    )
    function = torch._C._create_function_from_graph("forward", parsed)
    torch.testing.assert_close(function(x), expected, rtol=1e-4, atol=1e-3)


def test_readers_of_one_value_share_its_qparams() -> None:
    """The site that reads the value itself wins over one that reads it through a pool."""
    text = graph(
        op("", "max_pool2d(%x, %ones, %ones, %zeros, %ones, %false)", "p").replace(
            'aten::max_pool2d[iq_site="/max_pool2d/0"]', "aten::max_pool2d"
        ),
        conv("a", "p", "a"),
        conv("b", "x", "b"),
        "  %y : Tensor = aten::sub(%a, %b, %one)",
    ).replace("  %dims", "  %zeros : int[] = prim::Constant[value=[0, 0]]()\n  %dims")
    got = inserted(text, site("a/conv/0", input=(0.5, 1)), site("b/conv/0", input=(0.25, 2)))
    assert got.count("ipex_quant::quantize(") == 2
    assert got.count("0.25, 2)") == 4
    assert "0.5" not in got


def test_parts_of_one_value_share_a_covering_range() -> None:
    """Query and key of one projection: the range that holds both."""
    text = graph(
        linear("qk", "x", "l"),
        "  %p : Tensor[] = aten::chunk(%l, %two, %minus1)",
        "  %a : Tensor, %b : Tensor = prim::ListUnpack(%p)",
        "  %t : Tensor = aten::t(%b)",
        '  %y : Tensor = aten::matmul[iq_site="/matmul/0"](%a, %t)',
    )
    # a: -1 .. 1.55, b: 0 .. 2.55, together -1 .. 2.55
    got = inserted(
        text,
        site("qk/linear/0", input=(0.5, 128)),
        site("/matmul/0", a=(0.01, 100), b=(0.01, 0)),
    )
    scale = 3.55 / 255
    assert f"{scale:.6g}, {round(1 / scale)})" in got
    assert got.count("ipex_quant::quantize(") == 2


def test_activation_after_an_anchor_has_no_pair_between() -> None:
    text = graph(conv("a", "x", "a"), op("r", "relu(%a)", "r"), conv("b", "r", "y"))
    got = inserted(
        text,
        site("a/conv/0", input=(0.5, 1)),
        site("r/relu/0", input=(9.0, 9)),
        site("b/conv/0", input=(0.25, 0)),
    )
    assert "9, 9" not in got
    assert got.count("ipex_quant::quantize(") == 2
    relu = next(line for line in got.split("\n") if "aten::relu" in line)
    conv2d = next(line for line in got.split("\n") if "aten::conv2d" in line)
    assert conv2d.split()[0] in relu, "the activation reads the float result"


RESIDUAL = [
    conv("a", "x", "a"),
    op("r1", "relu(%a)", "r"),
    conv("b", "r", "b"),
    op("s", "add(%b, %r, %one)", "s"),
    op("r2", "relu(%s)", "t"),
]
RESIDUAL_SITES = [
    site("a/conv/0", input=(0.5, 1)),
    site("r1/relu/0", input=(1.0, 11)),
    site("b/conv/0", input=(0.25, 0)),
    site("s/add/0", a=(1.0, 12), b=(0.125, 2)),
    site("r2/relu/0", input=(1.0, 13)),
]


def test_residual_reads_the_int8_that_the_conv_reads() -> None:
    text = graph(*RESIDUAL, conv("c", "t", "y"))
    got = inserted(text, *RESIDUAL_SITES, site("c/conv/0", input=(0.0625, 0)))
    # x, the shared input of b and the add, and the input of c
    assert got.count("ipex_quant::quantize(") == 3
    assert "0.125, 2" not in got, "the conv's scale holds for the add, too"
    add = next(line for line in got.split("\n") if "aten::add" in line)
    shared = next(line for line in got.split("\n") if "dequantize" in line and "0.25, 0" in line)
    assert shared.split()[0] in add


def test_projection_shortcut_is_quantized_for_the_add() -> None:
    """Both sides come from convolutions: the later one accumulates, the other is int8."""
    text = graph(
        conv("d", "x", "d"),
        conv("a", "x", "a"),
        op("s", "add(%a, %d, %one)", "s"),
        op("r", "relu(%s)", "r"),
        conv("c", "r", "y"),
    )
    got = inserted(
        text,
        site("d/conv/0", input=(0.5, 1)),
        site("a/conv/0", input=(0.5, 1)),
        site("s/add/0", a=(1.0, 12), b=(0.125, 2)),
        site("r/relu/0", input=(1.0, 13)),
        site("c/conv/0", input=(0.0625, 0)),
    )
    assert "0.125, 2" in got, "the shortcut has the scale of the add's operand"
    assert "1, 12" not in got, "the accumulator is not quantized"


def test_float_result_keeps_its_addend_float() -> None:
    text = graph(
        op("n", "layer_norm(%x, %last, %none, %none, %eps, %false)", "n").replace(
            'layer_norm[iq_site="n/layer_norm/0"]', "layer_norm"
        ),
        linear("a", "n", "a"),
        op("s", "add(%a, %n, %one)", "y"),
    )
    got = inserted(text, site("a/linear/0", input=(0.5, 1)), site("s/add/0", a=(1, 2), b=(3, 4)))
    assert got.count("ipex_quant::quantize(") == 1
    norm = next(line for line in got.split("\n") if "layer_norm" in line).split()[0]
    add = next(line for line in got.split("\n") if "aten::add" in line)
    assert f"{norm}," in add, "the sum reads the float value itself"


def test_float_reader_of_an_int8_result_gets_it_dequantized() -> None:
    text = graph(
        conv("a", "x", "a"),
        conv("b", "a", "b"),
        "  %s : Tensor = aten::softmax(%a, %one, %none)",
        "  %y : Tensor = aten::sub(%b, %s, %one)",
    )
    got = inserted(text, site("a/conv/0", input=(0.5, 1)), site("b/conv/0", input=(0.25, 2)))
    assert got.count("ipex_quant::quantize(") == 2
    dequantized = [line.split()[0] for line in got.split("\n") if "0.25, 2)" in line][1]
    assert f"aten::softmax({dequantized}," in got


@pytest.mark.parametrize(
    "pool", ["adaptive_avg_pool2d(%a, %ones)", "mean(%a, %dims, %true, %none)"]
)
def test_pool_follows_between_int8_ops(pool: str) -> None:
    text = graph(conv("a", "x", "a"), op("p", pool, "p"), conv("b", "p", "y"))
    kind = pool.split("(")[0]
    got = inserted(
        text,
        site("a/conv/0", input=(0.5, 1)),
        site(f"p/{kind}/0", input=(0.125, 3)),
        site("b/conv/0", input=(0.25, 2)),
    )
    assert got.count("ipex_quant::quantize(") == 3
    assert got.count("0.125, 3)") == 2


def test_followers_without_need_stay_float_and_say_why() -> None:
    text = graph(
        op("p", "adaptive_avg_pool2d(%x, %ones)", "p"),
        conv("a", "p", "a"),
        op("q", "adaptive_avg_pool2d(%a, %ones)", "y"),
    )
    parsed = _C.parse_ir(text, TENSORS)
    sites = [
        site("p/adaptive_avg_pool2d/0", input=(0.5, 1)),
        site("a/conv/0", input=(0.25, 2)),
        site("q/adaptive_avg_pool2d/0", input=(0.125, 3)),
    ]
    assert _C.run_compile_pass("insert-quant-dequant", parsed, sites)
    reasons = [n.s("iq_reason") for n in parsed.nodes() if n.hasAttribute("iq_reason")]
    assert reasons == [
        "an input comes from the model's input in float",
        "its result is used in float",
    ]


def test_cat_takes_the_qparams_of_its_result() -> None:
    text = graph(
        conv("a", "x", "a"),
        conv("b", "x", "b"),
        "  %l : Tensor[] = prim::ListConstruct(%a, %b)",
        op("c", "cat(%l, %one)", "c"),
        '  %y : Tensor = aten::conv2d[iq_site="d/conv/0"]'
        "(%c, %k, %none, %ones, %ones, %ones, %two)",
    )
    got = inserted(
        text,
        site("a/conv/0", input=(0.5, 1)),
        site("b/conv/0", input=(0.5, 1)),
        site("c/cat/0", tensors_0=(1.0, 11), tensors_1=(1.0, 12)),
        site("d/conv/0", input=(0.25, 2)),
    )
    assert got.count("ipex_quant::quantize(") == 5  # x for each conv, a, b and the result
    assert got.count("0.25, 2)") == 6
    assert "1, 11" not in got


@pytest.mark.parametrize(
    ("observed", "used"),
    [
        ({}, (1 / 255, 0)),
        ({"probabilities": (0.0005, 0)}, (0.0005, 0)),
        ({"probabilities": (0.0005, 128)}, (1 / 255, 0)),  # 0 must be code 0
    ],
)
def test_probabilities_have_their_own_scale(observed: dict, used: tuple[float, int]) -> None:
    text = """graph(%q : Tensor, %k : Tensor, %v : Tensor):
  %none : NoneType = prim::Constant()
  %minus1 : int = prim::Constant[value=-1]()
  %minus2 : int = prim::Constant[value=-2]()
  %t : Tensor = aten::transpose(%k, %minus2, %minus1)
  %s : Tensor = aten::matmul[iq_site="/sdpa/0", iq_role="qk"](%q, %t)
  %p : Tensor = aten::softmax(%s, %minus1, %none)
  %y : Tensor = aten::matmul[iq_site="/sdpa/0", iq_role="pv"](%p, %v)
  return (%y)
"""
    params = site("/sdpa/0", query=(0.5, 1), key=(0.25, 2), value=(0.125, 3), **observed)
    parsed = _C.parse_ir(text, [])
    assert _C.run_compile_pass("insert-quant-dequant", parsed, [params])
    got = ir(parsed)
    for qparams in ("(%0, 0.5, 1)", "0.25, 2)", f"{used[0]:.6g}, {used[1]})", "(%2, 0.125, 3)"):
        assert qparams in got


def test_shape_queries_sink_below_activations() -> None:
    text = """graph(%x : Tensor):
  %zero : int = prim::Constant[value=0]()
  %minus1 : int = prim::Constant[value=-1]()
  %n : int = aten::size(%x, %zero)
  %l : int[] = prim::ListConstruct(%n, %minus1)
  %r : Tensor = aten::relu(%x)
  %y : Tensor = aten::reshape(%r, %l)
  return (%y)
"""
    after = """
graph(%0):
  %1 = aten::relu(%0)
  %2 = aten::size(%0, 0)
  %3 = aten::reshape(%1, [%2, -1])
  return (%3)
"""
    Golden("sink-shape-queries").check(text, after, inputs=[torch.randn(2, 3, 4)])
