"""Guards and the registry of users' fusions, and bad input to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ipex_quant
from fusion_models import block, kinds, quantized
from ipex_quant import fusion


def test_a_guard_keeps_a_match_and_says_why() -> None:
    def the_scale_is_small(match: Any) -> str | None:
        scale = float(match.constant("scale"))
        return None if scale < 1 else f"it is {scale:g}"

    def pattern(x: torch.Tensor, scale: float) -> torch.Tensor:
        return torch.sin(x * scale)

    def replacement(x: torch.Tensor, scale: float) -> torch.Tensor:
        return torch.cos(x * scale)

    guarded = fusion.rewrite(
        "turn",
        pattern,
        replacement,
        example_inputs=[torch.randn(3), 0.777],
        guards=[the_scale_is_small],
    )
    kept = quantized(block(lambda x: torch.sin(x * 1.5)), guarded)
    assert [r.refusal for r in ipex_quant.report(kept).fusions] == ["the_scale_is_small: it is 1.5"]
    turned = quantized(block(lambda x: torch.sin(x * 0.5)), guarded)
    assert "aten::cos" in kinds(turned) or "ipex_quant::lut" in kinds(turned)


def test_the_registry() -> None:
    one = fusion.elementwise("one", torch.sin)
    two = fusion.elementwise("two", torch.cos)
    handle = fusion.register(one)
    try:
        with pytest.raises(ValueError, match=r"fusion 'one' is given twice.*\n.*graph\("):
            fusion.register(two, fusion.elementwise("one", torch.cos))
        assert fusion.registered() == (one,)
        with pytest.raises(ValueError, match="fusion 'one' is given twice"):
            quantized(block(F.relu), one)
        with fusion.register(two):
            assert fusion.registered() == (one, two)
            fusion.unregister("two")
        assert fusion.registered() == (one,)
    finally:
        handle.remove()
    assert fusion.registered() == ()
    with pytest.raises(KeyError, match="no fusion 'one' is registered"):
        fusion.unregister("one")


RELU = "graph(%a):\n  %b : Tensor = aten::relu(%a)\n  return (%b)"
X = [torch.randn(2, 3)]

BAD = {
    "no function of elements": (
        lambda: fusion.elementwise("f", lambda x: torch.softmax(x, -1)),
        ValueError,
        r"gives an element that depends on other elements(.|\n)*aten::softmax",
    ),
    "another shape": (
        lambda: fusion.elementwise("f", lambda x: x.sin().flatten()),
        ValueError,
        r"gives torch.float32 \[256\] for torch.float32 \[16, 16\]",
    ),
    "another dtype": (
        lambda: fusion.elementwise("f", lambda x: x > 0),
        ValueError,
        "gives torch.bool",
    ),
    "nothing to find": (lambda: fusion.elementwise("f", lambda x: x), ValueError, "has no op"),
    "training": (
        lambda: fusion.elementwise("f", nn.RReLU()),
        ValueError,
        "its module is in training mode",
    ),
    "no text": (lambda: fusion.elementwise("f", 3), TypeError, "must be IR text or a function"),
    "no example": (
        lambda: fusion.rewrite("f", torch.sin, torch.cos),
        TypeError,
        "give example_inputs to trace it with",
    ),
    "example": (
        lambda: fusion.rewrite("f", torch.sin, torch.cos, example_inputs=["x"]),
        TypeError,
        "example input 0 must be a tensor or a number, got str",
    ),
    "common number": (
        lambda: fusion.rewrite("f", torch.add, torch.sub, example_inputs=[*X, 1]),
        ValueError,
        "example input 1 is 1, which stands for any number",
    ),
    "unused number": (
        lambda: fusion.rewrite(
            "f", lambda x, n: x.sin(), lambda x, n: x.cos(), example_inputs=[*X, 7.5]
        ),
        ValueError,
        "the example number 7.5 for argument 1 does not occur in its traced function",
    ),
    "endless": (
        lambda: fusion.rewrite("f", torch.sin, lambda x: x.sin() * 2, example_inputs=X),
        ValueError,
        r"its rewrite holds its pattern(.|\n)*aten::sin",
    ),
    "unregistered": (
        lambda: fusion.rewrite("f", RELU, RELU.replace("aten::relu", "no::where")),
        ValueError,
        "operator 'no::where' of its rewrite is not registered",
    ),
    "where": (lambda: fusion.rewrite("f", RELU, RELU, on="int4"), ValueError, "on must be 'float'"),
    "guard": (lambda: fusion.elementwise("f", torch.sin, guards=["x"]), TypeError, "a guard must"),
    "wrong steps": (
        lambda: fusion.post_op("f", torch.sin, "tanh", example_inputs=X),
        ValueError,
        r"its pattern gives .* its steps 'tanh' give .*(.|\n)*aten::sin",
    ),
    "unknown steps": (
        lambda: fusion.post_op("f", torch.sin, "sine", example_inputs=X),
        ValueError,
        "unknown epilogue step 'sine'",
    ),
    "not a fusion": (
        lambda: quantized(block(F.relu), RELU),
        TypeError,
        "quantize expects fusions made by .*, got str",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), BAD.values(), ids=BAD)
def test_bad_input(make: Callable, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        make()
