"""fuse: an op between dequantize and quantize becomes one int8 op with an epilogue."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden, ir, rewrite
from ipex_quant import _C

CONSTANTS = """
  %w : Float(8, 8) = prim::Constant[value=<Tensor>]()
  %ws : Float(8) = prim::Constant[value=<Tensor>]()
  %k : Float(8, 8, 3, 3) = prim::Constant[value=<Tensor>]()
  %row : Float(8) = prim::Constant[value=<Tensor>]()
  %number : Float() = prim::Constant[value=<Tensor>]()
  %mask : Bool(8) = prim::Constant[value=<Tensor>]()
  %s : float = prim::Constant[value=0.5]()
  %z : int = prim::Constant[value=3]()
  %s2 : float = prim::Constant[value=0.25]()
  %z2 : int = prim::Constant[value=7]()
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %true : bool = prim::Constant[value=1]()
  %minus1 : int = prim::Constant[value=-1]()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %four : int = prim::Constant[value=4]()
  %six : int = prim::Constant[value=6]()
  %half : float = prim::Constant[value=0.5]()
  %ones : int[] = prim::Constant[value=[1, 1]]()
  %twos : int[] = prim::Constant[value=[2, 2]]()
  %zeros : int[] = prim::Constant[value=[0, 0]]()
  %dims : int[] = prim::Constant[value=[2, 3]]()
  %shape : int[] = prim::Constant[value=[-1, 8]]()
  %sizes : int[] = prim::Constant[value=[0, 1, 0, 1]]()
  %erf : str = prim::Constant[value="none"]()
  %tanh : str = prim::Constant[value="tanh"]()"""
TENSORS = [
    torch.randn(8, 8),
    torch.rand(8) * 0.01 + 0.02,
    torch.randn(8, 8, 3, 3),
    torch.randn(8),
    torch.tensor(2.0),
    torch.randn(8) > 0,
]
X = "  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)"
LINEAR = """  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %w8 : Tensor = ipex_quant::quantize_weight(%w, %ws, %zero)
  %wf : Tensor = ipex_quant::dequantize_weight(%w8, %ws, %zero)
  %v0 : Tensor = aten::linear(%x, %wf, %none)"""
CONV = """  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %w8 : Tensor = ipex_quant::quantize_weight(%k, %ws, %zero)
  %wf : Tensor = ipex_quant::dequantize_weight(%w8, %ws, %zero)
  %v0 : Tensor = aten::conv2d(%x, %wf, %none, %ones, %ones, %ones, %one)"""


def graph(*lines: str, result: str = "y", inputs: str = "%q : Tensor") -> str:
    return "\n".join([f"graph({inputs}):{CONSTANTS}", *lines, f"  return (%{result})\n"])


def check(
    before: str,
    after: str,
    *inputs: torch.Tensor,
    tolerance: float = 1e-3,
) -> None:
    Golden("fuse").check(before, after, constants=TENSORS, inputs=inputs, tolerance=tolerance)


def codes(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def after_linear(epilogue: str, others: str = "[]") -> str:
    return f"""
graph(%0):
  %1 = ipex_quant::quantize_weight(<8x8>, <8>, 0)
  %2 = ipex_quant::linear_prepack(%1, <8>, None, 0.5, 3, '{epilogue}')
  %3 = ipex_quant::linear(%0, %2, {others})
  return (%3)"""


def after_conv(geometry: str, epilogue: str, axis: int = 0) -> str:
    return f"""
graph(%0):
  %1 = ipex_quant::quantize_weight(<8x8x3x3>, <8>, {axis})
  %2 = ipex_quant::conv_prepack(%1, <8>, None, {geometry}, 0.5, 3, '{epilogue}')
  %3 = ipex_quant::conv(%0, %2, [])
  return (%3)
"""


POST_OPS = [
    ("aten::relu(%v0)", "relu"),
    ("aten::relu6(%v0)", "clamp(0,6)"),
    ("aten::hardtanh(%v0, %minus1, %two)", "clamp(-1,2)"),
    ("aten::clamp(%v0, %minus1, %none)", "clamp(-1,inf)"),
    ("aten::clamp(%v0, %none, %two)", "clamp(-inf,2)"),
    ("aten::sigmoid(%v0)", "sigmoid"),
    ("aten::tanh(%v0)", "tanh"),
    ("aten::gelu(%v0, %erf)", "gelu"),
    ("aten::gelu(%v0, %tanh)", "gelu_tanh"),
    ("aten::silu(%v0)", "silu"),
    ("aten::hardswish(%v0)", "hardswish"),
    ("aten::hardsigmoid(%v0)", "hardsigmoid"),
    ("aten::leaky_relu(%v0, %half)", "leaky_relu(0.5)"),
    ("aten::elu(%v0, %half, %one, %one)", "elu(0.5)"),
    ("aten::mish(%v0)", "mish"),
    ("aten::neg(%v0)", "mul(-1)"),
    ("aten::add(%v0, %two, %two)", "add(4)"),
    ("aten::add(%number, %v0, %one)", "add(2)"),
    ("aten::sub(%v0, %two, %one)", "add(-2)"),
    ("aten::sub(%number, %v0, %one)", "mul(-1)|add(2)"),
    ("aten::rsub(%v0, %two, %one)", "mul(-1)|add(2)"),
    ("aten::mul(%v0, %half)", "mul(0.5)"),
    ("aten::div(%v0, %four)", "mul(0.25)"),
    ("aten::add(%v0, %row, %one)", "add_f32"),
    ("aten::sub(%row, %v0, %one)", "mul(-1)|add_f32"),
    ("aten::sub(%v0, %row, %one)", "mul(-1)|add_f32|mul(-1)"),
    ("aten::mul(%row, %v0)", "mul_f32"),
    ("aten::masked_fill(%v0, %mask, %minus1)", "masked_fill(-1)"),
    ("aten::masked_fill(%v0, %mask, %number)", "masked_fill(2)"),
    ("aten::where(%mask, %v0, %half)", "where(0.5)"),
    ("aten::where(%mask, %number, %v0)", "masked_fill(2)"),
]


def test_every_post_op_has_a_case() -> None:
    tested = {call.split("(")[0] for call, _ in POST_OPS}
    untested = {op for part, op, _, _ in _C.list_fusions() if part == "post-op"} - tested
    # Forms of clamp; test_fuse_prelu.py.
    assert untested == {"aten::clamp_min", "aten::clamp_max", "aten::prelu"}


@pytest.mark.parametrize(("call", "step"), POST_OPS)
def test_post_op(call: str, step: str) -> None:
    reads = any(name in step for name in ("_f32", "masked_fill", "where"))
    others = "[<8>]" if reads else "[]"
    before = graph(LINEAR, f"  %y : Tensor = {call}")
    check(before, after_linear(step, others), codes(5, 8))


def test_chain_ends_in_quantize() -> None:
    before = graph(
        LINEAR,
        "  %v1 : Tensor = aten::mul(%v0, %half)",
        "  %v2 : Tensor = aten::relu(%v1)",
        "  %y : Tensor = ipex_quant::quantize(%v2, %s2, %z2)",
    )
    check(before, after_linear("mul(0.5)|relu|quantize(0.25,7)"), codes(5, 8))


@pytest.mark.parametrize(
    ("call", "step"),
    [
        ("aten::add(%v0, %o, %one)", "add_u8(0.5,3)"),
        ("aten::add(%o, %v0, %one)", "add_u8(0.5,3)"),
        ("aten::mul(%o, %v0)", "mul_u8(0.5,3)"),
        ("aten::sub(%o, %v0, %one)", "mul(-1)|add_u8(0.5,3)"),
    ],
)
def test_int8_operand_is_read_as_it_is(call: str, step: str) -> None:
    before = graph(
        "  %o : Tensor = ipex_quant::dequantize(%q, %s, %z)", LINEAR, f"  %y : Tensor = {call}"
    )
    check(before, after_linear(step, "[%0]"), codes(5, 8))


def test_operand_that_may_enlarge_the_result_stays() -> None:
    """Without shapes, a sum with another input may be larger than the kernel's result."""
    before = graph(
        "  %o : Tensor = ipex_quant::dequantize(%p, %s2, %z2)",
        LINEAR,
        "  %y : Tensor = aten::mul(%v0, %o)",
        inputs="%q : Tensor, %p : Tensor",
    )
    after = """
graph(%0, %1):
  %2 = ipex_quant::dequantize(%1, 0.25, 7)
  %3 = ipex_quant::quantize_weight(<8x8>, <8>, 0)
  %4 = ipex_quant::linear_prepack(%3, <8>, None, 0.5, 3, '')
  %5 = ipex_quant::linear(%0, %4, [])
  %6 = aten::mul(%5, %2)
  return (%6)
"""
    check(before, after, codes(5, 8), codes(4, 5, 8))


def test_result_with_two_readers_ends_the_chain() -> None:
    before = graph(
        LINEAR,
        "  %r : Tensor = aten::relu(%v0)",
        "  %t : Tensor = aten::tanh(%r)",
        "  %y : Tensor = aten::sub(%r, %t, %one)",
    )
    after = """
graph(%0):
  %1 = ipex_quant::quantize_weight(<8x8>, <8>, 0)
  %2 = ipex_quant::linear_prepack(%1, <8>, None, 0.5, 3, 'relu')
  %3 = ipex_quant::linear(%0, %2, [])
  %4 = aten::tanh(%3)
  %5 = aten::sub(%3, %4, 1)
  return (%5)
"""
    check(before, after, codes(5, 8))


def test_epilogue_holds_eight_steps() -> None:
    relus = [f"  %v{i + 1} : Tensor = aten::relu(%v{i})" for i in range(9)]
    before = graph(LINEAR, *relus, result="v9")
    after = after_linear("|".join(["relu"] * 8)).replace(
        "  return (%3)", "  %4 = aten::relu(%3)\n  return (%4)"
    )
    check(before, after, codes(5, 8))


def test_later_anchor_accumulates() -> None:
    before = graph(
        LINEAR,
        "  %u : Tensor = aten::linear(%x, %wf, %none)",
        "  %r : Tensor = aten::relu(%u)",
        "  %y : Tensor = aten::add(%v0, %r, %one)",
    )
    after = """
graph(%0):
  %1 = ipex_quant::quantize_weight(<8x8>, <8>, 0)
  %2 = ipex_quant::linear_prepack(%1, <8>, None, 0.5, 3, '')
  %3 = ipex_quant::linear(%0, %2, [])
  %4 = ipex_quant::linear_prepack(%1, <8>, None, 0.5, 3, 'relu|add_f32')
  %5 = ipex_quant::linear(%0, %4, [%3])
  return (%5)
"""
    check(before, after, codes(5, 8))


def test_conv_takes_up_the_pad_with_its_zero_point() -> None:
    before = graph(
        "  %p : Tensor = aten::constant_pad_nd(%q, %sizes, %z)",
        CONV.replace("dequantize(%q", "dequantize(%p"),
        result="v0",
    )
    after = after_conv("[1, 1], [1, 1, 2, 2], [1, 1], [0, 0], 1, False", "")
    check(before, after, codes(2, 8, 6, 6))


def test_shape_is_read_from_the_fused_result() -> None:
    before = graph(
        LINEAR,
        "  %r : Tensor = aten::relu(%v0)",
        "  %n : int = aten::size(%v0, %zero)",
        "  %l : int[] = prim::ListConstruct(%n, %two, %minus1)",
        "  %y : Tensor = aten::reshape(%r, %l)",
    )
    after = """
graph(%0):
  %1 = ipex_quant::quantize_weight(<8x8>, <8>, 0)
  %2 = ipex_quant::linear_prepack(%1, <8>, None, 0.5, 3, 'relu')
  %3 = ipex_quant::linear(%0, %2, [])
  %4 = aten::size(%3, 0)
  %5 = aten::reshape(%3, [%4, 2, -1])
  return (%5)
"""
    check(before, after, codes(5, 8))


ANCHORS = [
    (
        "aten::matmul(%x, %o)",
        "%2 = ipex_quant::matmul_prepack(0.5, 3, 0.25, 7, 'quantize(2,128)')",
        "ipex_quant::matmul(%0, %1, %2, [])",
    ),
    *[
        (
            f"aten::{op}(%x, %o{alpha})",
            f"%2 = ipex_quant::binary_prepack('{op}', 0.5, 3, 0.25, 7, 'quantize(2,128)')",
            "ipex_quant::binary(%0, %1, %2, [])",
        )
        for op, alpha in (("add", ", %one"), ("sub", ", %one"), ("mul", ""))
    ],
    (
        "aten::cat(%l, %one)",
        "",
        "ipex_quant::cat([%0, %1], [0.5, 0.25], [3, 7], 1, 2, 128)",
    ),
]


@pytest.mark.parametrize(("call", "prepack", "run"), ANCHORS)
def test_anchor_of_two_tensors(call: str, prepack: str, run: str) -> None:
    before = graph(
        X,
        "  %o : Tensor = ipex_quant::dequantize(%p, %s2, %z2)",
        "  %l : Tensor[] = prim::ListConstruct(%x, %o)",
        "  %so : float = prim::Constant[value=2.]()",
        "  %zo : int = prim::Constant[value=128]()",
        f"  %f : Tensor = {call}",
        "  %y : Tensor = ipex_quant::quantize(%f, %so, %zo)",
        inputs="%q : Tensor, %p : Tensor",
    )
    number = 3 if prepack else 2
    lines = [f"  {prepack}"] if prepack else []
    lines += [f"  %{number} = {run}", f"  return (%{number})"]
    after = "\n".join(["graph(%0, %1):", *lines])
    # A sum that lies between two codes may round to either.
    check(before, after, codes(6, 6), codes(6, 6), tolerance=1)


@pytest.mark.parametrize(
    ("call", "run"),
    [
        (
            "aten::avg_pool2d(%x, %twos, %ones, %zeros, %false, %true, %none)",
            "avg_pool(%0, [2, 2], [1, 1], [0, 0], False, True, None, 0.5, 3, 0.25, 7)",
        ),
        ("aten::adaptive_avg_pool2d(%x, %ones)", "adaptive_avg_pool(%0, [1, 1], 0.5, 3, 0.25, 7)"),
        ("aten::mean(%x, %dims, %true, %none)", "mean(%0, [2, 3], True, 0.5, 3, 0.25, 7)"),
    ],
)
def test_pool(call: str, run: str) -> None:
    quantize = "  %y : Tensor = ipex_quant::quantize(%f, %s2, %z2)"
    before = graph(X, f"  %f : Tensor = {call}", quantize)
    after = f"graph(%0):\n  %1 = ipex_quant::{run}\n  return (%1)"
    check(before, after, codes(2, 8, 6, 6), tolerance=1)


def test_pool_without_quantize_stays() -> None:
    before = graph(X, "  %y : Tensor = aten::adaptive_avg_pool2d(%x, %ones)")
    Golden("fuse").check(before, None, constants=TENSORS)


@pytest.mark.parametrize("transposed", [False, True])
def test_conv(transposed: bool) -> None:
    before = graph(CONV, "  %y : Tensor = aten::relu(%v0)")
    after = after_conv("[1, 1], [1, 1], [1, 1], [0, 0], 1, False", "relu")
    if transposed:
        before = before.replace("conv2d(", "conv_transpose2d(")
        before = before.replace("%ones, %ones, %ones, %one)", "%ones, %zeros, %zeros, %one, %ones)")
        for axis_of in ("%k, %ws", "%w8, %ws"):
            before = before.replace(f"({axis_of}, %zero)", f"({axis_of}, %one)")
        after = after_conv("[1, 1], [0, 0], [1, 1], [0, 0], 1, True", "relu", axis=1)
    check(before, after, codes(2, 8, 6, 6))


def test_float_operand_keeps_the_op() -> None:
    before = graph("  %y : Tensor = aten::matmul(%q, %q)")
    Golden("fuse").check(before, None, constants=TENSORS)


TABLE = torch.arange(255, -1, -1).to(torch.uint8)
LOOKED_UP = """  %table : Byte(256) = prim::Constant[value=<Tensor>]()
  %r : Tensor = ipex_quant::quantize(%v0, %s2, %z2)
  %y : Tensor = ipex_quant::lut(%r, %table)"""


def check_table(before: str, after: str) -> None:
    constants = [*TENSORS, TABLE]
    Golden("fuse").check(before, after, constants=constants, inputs=[codes(2, 8)], tolerance=1)


def test_a_table_behind_quantize_is_looked_up_in_the_epilogue() -> None:
    text = f"quantize(0.25,7)|table({bytes(TABLE.tolist()).hex()})"
    check_table(graph(LINEAR, LOOKED_UP), after_linear(text))


def test_codes_that_another_op_reads_stay_in_memory() -> None:
    before = graph(LINEAR, LOOKED_UP, "  %o : Tensor = aten::maximum(%y, %r)", result="o")
    after = after_linear("quantize(0.25,7)").replace(
        "return (%3)",
        """%4 = ipex_quant::lut(%3, <256>)
  %5 = aten::maximum(%4, %3)
  return (%5)""",
    )
    check_table(before, after.replace("  return (%3)", ""))


def test_user_fusion_on_int8_comes_first() -> None:
    fusion = rewrite(
        "double_relu",
        "graph(%a):\n  %b : Tensor = aten::relu(%a)\n  %c : Tensor = aten::relu(%b)\n  return (%c)",
        "graph(%a):\n  %c : Tensor = aten::abs(%a)\n  return (%c)",
        on_int8=True,
    )
    before = graph(LINEAR, "  %v1 : Tensor = aten::relu(%v0)", "  %y : Tensor = aten::relu(%v1)")
    parsed = _C.parse_ir(before, TENSORS)
    assert _C.run_compile_pass("fuse", parsed, [], [fusion])
    assert "aten::abs" in ir(parsed)
    assert "relu" not in ir(parsed)
