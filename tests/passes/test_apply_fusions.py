"""apply-fusions: a user's pattern becomes the user's ops, or one function node."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from compile_tools import Golden, ir, rewrite, site
from ipex_quant import _C

RELU_TWICE = """graph(%a):
  %b : Tensor = aten::relu(%a)
  %c : Tensor = aten::relu(%b)
  return (%c)"""
ABS = "graph(%a):\n  %c : Tensor = aten::abs(%a)\n  return (%c)"
SQUARE_PLUS = """graph(%x):
  %one : int = prim::Constant[value=1]()
  %four : int = prim::Constant[value=4]()
  %square : Tensor = aten::mul(%x, %x)
  %sum : Tensor = aten::add(%square, %four, %one)
  %y : Tensor = aten::sqrt(%sum)
  return (%y)"""
CONSTANTS = """
  %one : int = prim::Constant[value=1]()
  %four : int = prim::Constant[value=4]()
  %real_four : float = prim::Constant[value=4.]()
  %five : int = prim::Constant[value=5]()"""


def graph(*lines: str, result: str = "%y", inputs: str = "%q : Tensor") -> str:
    body = "\n".join(f"  {line}" for line in lines)
    return f"graph({inputs}):{CONSTANTS}\n{body}\n  return ({result})\n"


def elementwise(name: str, pattern: str) -> Any:
    return _C.elementwise_fusion(name, _C.parse_fusion_ir(name, "pattern", pattern))


def text(graph: Any) -> str:
    """The graph's text with its attributes, without the escapes in them."""
    return str(graph).replace("\\'", "'")


def check(fusion: Any, before: str, after: str | None, *inputs: torch.Tensor) -> Any:
    return Golden("apply-fusions", fusions=[fusion]).check(before, after, inputs=inputs)


def test_a_match_becomes_the_rewrite() -> None:
    before = graph(
        "%u : Tensor = aten::relu(%q)",
        "%v : Tensor = aten::relu(%u)",
        "%y : Tensor = aten::exp(%v)",
    )
    after = """
graph(%0):
  %1 = aten::abs(%0)
  %2 = aten::exp(%1)
  return (%2)"""
    check(rewrite("f", RELU_TWICE, ABS), before, after, torch.rand(4))


def test_places_that_overlap_are_taken_once() -> None:
    lines = [f"%v{i + 1} : Tensor = aten::relu(%v{i})" for i in range(5)]
    before = graph(*lines, result="%v5", inputs="%v0 : Tensor")
    after = """
graph(%0):
  %1 = aten::abs(%0)
  %2 = aten::abs(%1)
  %3 = aten::relu(%2)
  return (%3)"""
    check(rewrite("f", RELU_TWICE, ABS), before, after, torch.rand(4))


@pytest.mark.parametrize(
    "line",
    [
        "%y : Tensor = aten::add(%q, %four, %one)",
        "%y : Tensor = aten::add(%q, %real_four, %one)",
        "%y : Tensor = aten::add(%four, %q, %one)",
    ],
)
def test_constants_match_by_value_and_operands_may_be_swapped(line: str) -> None:
    pattern = (
        "graph(%x):" + CONSTANTS + "\n  %y : Tensor = aten::add(%x, %four, %one)\n  return (%y)"
    )
    put = pattern.replace("add(%x, %four, %one)", "rsub(%x, %five, %one)")
    after = "\ngraph(%0):\n  %1 = aten::rsub(%0, 5, 1)\n  return (%1)"
    check(rewrite("f", pattern, put), graph(line), after)


@pytest.mark.parametrize(
    "line",
    ["%y : Tensor = aten::add(%q, %five, %one)", "%y : Tensor = aten::add(%q, %four, %four)"],
)
def test_other_constants_do_not_match(line: str) -> None:
    pattern = (
        "graph(%x):" + CONSTANTS + "\n  %y : Tensor = aten::add(%x, %four, %one)\n  return (%y)"
    )
    check(rewrite("f", pattern, ABS), graph(line), None)


def test_one_input_stands_for_one_value() -> None:
    pattern = "graph(%x):\n  %y : Tensor = aten::div(%x, %x)\n  return (%y)"
    pair = "%q : Tensor, %r : Tensor"
    check(rewrite("f", pattern, ABS), graph("%y : Tensor = aten::div(%q, %r)", inputs=pair), None)


def test_several_outputs() -> None:
    pattern = """graph(%x, %z):
  %a : Tensor = aten::sin(%x)
  %b : Tensor = aten::div(%a, %z)
  %c : Tensor = aten::cos(%x)
  return (%b, %c)"""
    put = """graph(%x, %z):
  %a : Tensor = aten::abs(%x)
  %b : Tensor = aten::neg(%z)
  return (%a, %b)"""
    before = graph(
        "%c : Tensor = aten::cos(%q)",
        "%a : Tensor = aten::sin(%q)",
        "%b : Tensor = aten::div(%a, %r)",
        "%y : Tensor = aten::maximum(%b, %c)",
        inputs="%q : Tensor, %r : Tensor",
    )
    after = """
graph(%0, %1):
  %2 = aten::abs(%0)
  %3 = aten::neg(%1)
  %4 = aten::maximum(%2, %3)
  return (%4)"""
    graph_after = _C.parse_ir(before, [])
    assert _C.run_compile_pass("apply-fusions", graph_after, [], [rewrite("f", pattern, put)])
    assert ir(graph_after) == after.strip("\n")


INNER_IS_READ = graph(
    "%u : Tensor = aten::relu(%q)",
    "%v : Tensor = aten::relu(%u)",
    "%y : Tensor = aten::div(%v, %u)",
)
WRITTEN = graph(
    "%u : Tensor = aten::relu(%q)",
    "%v : Tensor = aten::relu(%u)",
    "%y : Tensor = aten::add_(%v, %four, %one)",
)


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (INNER_IS_READ, "a value inside of it is also read by aten::div"),
        (WRITTEN, "a value of it is changed in place"),
    ],
)
def test_what_cannot_be_replaced_stays_with_the_reason(before: str, reason: str) -> None:
    fusion = rewrite("mine", RELU_TWICE, ABS)
    after = check(fusion, before, None)
    assert f"fusion 'mine': {reason}" in text(after)


def test_a_guard_that_fails_keeps_the_match() -> None:
    seen = []

    def refuse(match: Any) -> str:
        seen.append((match.ops, match.constant("a")))
        return "for the test"

    fusion = rewrite("mine", RELU_TWICE, ABS, guards=[("a_is_small", refuse)])
    before = graph("%u : Tensor = aten::relu(%q)", "%y : Tensor = aten::relu(%u)")
    after = check(fusion, before, None)
    assert "fusion 'mine': a_is_small: for the test" in text(after)
    assert seen[0] == (["aten::relu", "aten::relu"], None)


def test_the_larger_pattern_comes_first() -> None:
    one = "graph(%a):\n  %b : Tensor = aten::relu(%a)\n  return (%b)"
    small = rewrite("small", one, ABS.replace("abs", "sin"))
    large = rewrite("large", RELU_TWICE, ABS)
    lines = [f"%v{i + 1} : Tensor = aten::relu(%v{i})" for i in range(3)]
    parsed = _C.parse_ir(graph(*lines, result="%v3", inputs="%v0 : Tensor"), [])
    assert _C.run_compile_pass("apply-fusions", parsed, [], [small, large])
    assert [n.kind() for n in parsed.nodes() if "aten" in n.kind()] == ["aten::abs", "aten::sin"]


def test_an_op_of_the_same_kind_keeps_its_site() -> None:
    pattern = """graph(%x, %w, %b):
  %h : Tensor = aten::linear(%x, %w, %b)
  %y : Tensor = aten::sin(%h)
  return (%y)"""
    put = pattern.replace("sin", "cos")
    before = graph(
        '%h : Tensor = aten::linear[iq_site="fc/linear/0", iq_ids=[3]](%q, %w, %b)',
        '%y : Tensor = aten::sin[iq_site="/sin/0", iq_ids=[4]](%h)',
        inputs="%q : Tensor, %w : Tensor, %b : Tensor",
    )
    parsed = _C.parse_ir(before, [])
    assert _C.run_compile_pass("apply-fusions", parsed, [], [rewrite("f", pattern, put)])
    linear, cos = (n for n in parsed.nodes() if "aten" in n.kind())
    assert linear.s("iq_site") == "fc/linear/0" and "iq_ids=[3]" in str(linear)
    assert cos.s("iq_fusion") == "f" and "iq_ids=[4]" in str(cos)


SITE = [site("/mul/0", a=(0.1, 3))]
MARKED = graph(
    '%m : Tensor = aten::mul[iq_site="/mul/0", iq_ids=[0]](%q, %q)',
    '%s : Tensor = aten::add[iq_site="/add/0", iq_ids=[1]](%m, %four, %one)',
    "%y : Tensor = aten::sqrt[iq_ids=[2]](%s)",
)


def test_a_function_becomes_one_node_that_runs() -> None:
    after = "\ngraph(%0):\n  %1 = ipex_quant::function(%0)\n  return (%1)"
    golden = Golden("apply-fusions", SITE, [elementwise("squareplus", SQUARE_PLUS)])
    parsed = golden.check(MARKED, after, inputs=[torch.randn(3, 5)])
    function = parsed.findNode("ipex_quant::function")
    assert (function.s("iq_site"), function.s("iq_role")) == ("/mul/0", "a")
    assert "iq_ids=[0, 1, 2]" in str(function)


def test_fuse_takes_a_function_apart_that_found_no_place() -> None:
    parsed = _C.parse_ir(MARKED, [])
    before = ir(parsed)
    fusions = [elementwise("squareplus", SQUARE_PLUS)]
    assert _C.run_compile_pass("apply-fusions", parsed, SITE, fusions)
    assert _C.run_compile_pass("fuse", parsed, SITE, fusions)
    assert ir(parsed) == before
    assert "fusion 'squareplus': its input or its result is not int8" in text(parsed)


SAME = "graph(%a):\n  %b : Tensor = aten::relu(%a)\n  return (%b)"
BAD = {
    "inputs": (
        SAME,
        SAME.replace("(%a):", "(%a, %c):"),
        "fusion 'f': match has 1 inputs but rewrite has 2; both sides must list the same inputs",
    ),
    "outputs": (
        SAME,
        SAME.replace("return (%b)", "return (%b, %a)"),
        "fusion 'f': match has 1 outputs but rewrite has 2",
    ),
    "syntax": ("graph(%a", SAME, "fusion 'f': its pattern does not parse"),
    "nothing": ("graph(%a):\n  return (%a)", SAME, "its pattern has no op"),
    "output is input": (
        SAME.replace("return (%b)", "return (%b, %a)"),
        ABS.replace("return (%c)", "return (%c, %a)"),
        "output %a of its pattern is made by no op of it",
    ),
    "unread input": (
        SAME.replace("(%a):", "(%a, %c):"),
        ABS.replace("(%a):", "(%a, %c):"),
        "input %c is read by no op of its pattern",
    ),
    "unregistered": (
        SAME,
        ABS.replace("aten::abs", "nowhere::abs"),
        "operator 'nowhere::abs' of its rewrite is not registered",
    ),
    "unregistered in the pattern": (
        SAME.replace("aten::relu", "nowhere::relu"),
        ABS,
        "operator 'nowhere::relu' of its pattern is not registered",
    ),
    "arguments": (
        SAME,
        ABS.replace("abs(%a)", "matmul(%a)"),
        r"no form of operator 'aten::matmul' of its rewrite takes \(Tensor\); expected one of",
    ),
    "endless": (SAME, RELU_TWICE, "its rewrite holds its pattern, so that it could be applied for"),
}


@pytest.mark.parametrize(("pattern", "put", "message"), BAD.values(), ids=BAD)
def test_a_bad_rewrite_is_an_error_that_quotes_the_pattern(
    pattern: str, put: str, message: str
) -> None:
    with pytest.raises(RuntimeError, match=message) as caught:
        rewrite("f", pattern, put)
    assert "graph(%" in str(caught.value)


def test_two_fusions_of_one_name_are_an_error() -> None:
    one = rewrite("f", SAME, ABS)
    with pytest.raises(RuntimeError, match="fusion 'f' is given twice"):
        _C.run_compile_pass("apply-fusions", _C.parse_ir(graph(result="%q"), []), [], [one, one])


POST_OP = "graph(%x, %t):\n  %y : Tensor = aten::mul(%x, %t)\n  return (%y)"
BAD_STEPS = {
    "unknown": ("swish", "unknown epilogue step 'swish'"),
    "quantize": ("relu|quantize(0.1,0)", "must be one or more post-ops without quantize"),
    "none": ("", "must be one or more post-ops"),
    "no tensor": ("relu", "its pattern has 2 inputs and its steps 'relu' read 0 tensors"),
    "bytes": ("add_u8(0.1,0)", "write add_f32, which reads the tensor in int8"),
}


@pytest.mark.parametrize(("steps", "message"), BAD_STEPS.values(), ids=BAD_STEPS)
def test_bad_steps_are_an_error(steps: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        _C.post_op_fusion("f", _C.parse_fusion_ir("f", "pattern", POST_OP), steps)


def test_a_function_of_two_tensors_is_not_elementwise() -> None:
    with pytest.raises(RuntimeError, match="has 2 inputs and 1 outputs, expected one tensor in"):
        elementwise("f", POST_OP)
