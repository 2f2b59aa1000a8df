"""recognize-activations: functions written out in simpler ops."""

from __future__ import annotations

import math

import pytest
import torch

from compile_tools import Golden

CONSTANTS = f"""
  %none : NoneType = prim::Constant()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %three : int = prim::Constant[value=3]()
  %six : int = prim::Constant[value=6]()
  %twenty : int = prim::Constant[value=20]()
  %cube : float = prim::Constant[value=3.]()
  %cubic : float = prim::Constant[value=0.044715]()
  %rootpi : float = prim::Constant[value={math.sqrt(2 / math.pi)!r}]()
  %half : float = prim::Constant[value=0.5]()
  %sixth : float = prim::Constant[value={1 / 6!r}]()
  %root2 : float = prim::Constant[value={math.sqrt(2)!r}]()
  %rooth : float = prim::Constant[value={math.sqrt(0.5)!r}]()"""

WRITTEN_OUT = [
    ("silu(%0)", ["aten::sigmoid(%x)", "aten::mul(%x, %v0)"]),
    ("silu(%0)", ["aten::sigmoid(%x)", "aten::mul(%v0, %x)"]),
    ("hardswish(%0)", ["aten::hardsigmoid(%x)", "aten::mul(%x, %v0)"]),
    (
        "hardswish(%0)",
        [
            "aten::add(%x, %three, %one)",
            "aten::relu6(%v0)",
            "aten::mul(%x, %v1)",
            "aten::div(%v2, %six)",
        ],
    ),
    (
        "hardswish(%0)",
        [
            "aten::add(%x, %three, %one)",
            "aten::hardtanh(%v0, %zero, %six)",
            "aten::mul(%v1, %sixth)",
            "aten::mul(%x, %v2)",
        ],
    ),
    (
        "mish(%0)",
        ["aten::softplus(%x, %one, %twenty)", "aten::tanh(%v0)", "aten::mul(%x, %v1)"],
    ),
    (
        "gelu(%0, 'none')",
        [
            "aten::mul(%x, %half)",
            "aten::div(%x, %root2)",
            "aten::erf(%v1)",
            "aten::add(%v2, %one, %one)",
            "aten::mul(%v0, %v3)",
        ],
    ),
    (
        "gelu(%0, 'none')",
        [
            "aten::mul(%x, %rooth)",
            "aten::erf(%v0)",
            "aten::add(%v1, %one, %one)",
            "aten::mul(%x, %v2)",
            "aten::mul(%v3, %half)",
        ],
    ),
    (  # transformers' NewGELUActivation
        "gelu(%0, 'tanh')",
        [
            "aten::mul(%x, %half)",
            "aten::pow(%x, %cube)",
            "aten::mul(%v1, %cubic)",
            "aten::add(%x, %v2, %one)",
            "aten::mul(%v3, %rootpi)",
            "aten::tanh(%v4)",
            "aten::add(%v5, %one, %one)",
            "aten::mul(%v0, %v6)",
        ],
    ),
    (  # FastGELUActivation
        "gelu(%0, 'tanh')",
        [
            "aten::mul(%x, %half)",
            "aten::mul(%x, %rootpi)",
            "aten::mul(%x, %cubic)",
            "aten::mul(%v2, %x)",
            "aten::add(%v3, %one, %one)",
            "aten::mul(%v1, %v4)",
            "aten::tanh(%v5)",
            "aten::add(%v6, %one, %one)",
            "aten::mul(%v0, %v7)",
        ],
    ),
    (
        "gelu(%0, 'tanh')",
        [
            "aten::mul(%x, %x)",
            "aten::mul(%v0, %x)",
            "aten::mul(%v1, %cubic)",
            "aten::add(%v2, %x, %one)",
            "aten::mul(%v3, %rootpi)",
            "aten::tanh(%v4)",
            "aten::add(%v5, %one, %one)",
            "aten::mul(%v6, %half)",
            "aten::mul(%x, %v7)",
        ],
    ),
]


def graph(ops: list[str]) -> str:
    body = "\n".join(f"  %v{i} : Tensor = {op}" for i, op in enumerate(ops))
    return f"graph(%x : Tensor):{CONSTANTS}\n{body}\n  return (%v{len(ops) - 1})\n"


@pytest.mark.parametrize(("function", "ops"), WRITTEN_OUT)
def test_function_is_found(function: str, ops: list[str]) -> None:
    after = f"graph(%0):\n  %1 = aten::{function}\n  return (%1)"
    golden = Golden("recognize-activations")
    golden.check(graph(ops), after, inputs=[torch.randn(1000) * 4], tolerance=2e-6)


@pytest.mark.parametrize(
    "ops",
    [
        ["aten::sigmoid(%x)", "aten::mul(%v0, %two)"],
        ["aten::relu(%x)", "aten::sigmoid(%x)", "aten::mul(%v0, %v1)"],
        ["aten::add(%x, %two, %one)", "aten::relu6(%v0)", "aten::mul(%x, %v1)"],
        [
            "aten::add(%x, %three, %one)",
            "aten::relu6(%v0)",
            "aten::mul(%x, %v1)",
            "aten::div(%v2, %three)",
        ],
        [
            "aten::mul(%x, %half)",
            "aten::pow(%x, %two)",
            "aten::mul(%v1, %cubic)",
            "aten::add(%x, %v2, %one)",
            "aten::mul(%v3, %rootpi)",
            "aten::tanh(%v4)",
            "aten::add(%v5, %one, %one)",
            "aten::mul(%v0, %v6)",
        ],
    ],
)
def test_another_function_stays(ops: list[str]) -> None:
    Golden("recognize-activations").check(graph(ops), None)


def test_site_is_that_of_the_inner_function() -> None:
    text = """graph(%x : Tensor):
  %s : Tensor = aten::sigmoid[iq_site="m/sigmoid/0"](%x)
  %y : Tensor = aten::mul[iq_site="m/mul/0"](%s, %x)
  return (%y)
"""
    golden = Golden("recognize-activations")
    result = golden.check(text, "graph(%0):\n  %1 = aten::silu(%0)\n  return (%1)")
    node = next(n for n in result.nodes() if n.kind() == "aten::silu")
    assert node.s("iq_site") == "m/sigmoid/0"


@pytest.mark.parametrize(
    ("slopes", "after"),
    [
        ([0.125], "graph(%0):\n  %1 = aten::leaky_relu(%0, 0.125)\n  return (%1)"),
        ([0.125, 0.5], None),
    ],
)
def test_prelu_with_one_slope_is_a_leaky_relu(slopes: list[float], after: str | None) -> None:
    text = f"""graph(%x : Tensor):
  %w : Float({len(slopes)}) = prim::Constant[value=<Tensor>]()
  %y : Tensor = aten::prelu(%x, %w)
  return (%y)
"""
    golden = Golden("recognize-activations")
    golden.check(text, after, constants=[torch.tensor(slopes)], inputs=[torch.randn(3, 2, 5)])
