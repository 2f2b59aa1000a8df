"""Fusions of the user: what becomes of a model, its report, its file, and bad input."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ipex_quant
from fusion_models import INT8_ONLY, Block, block, images, kinds, noise, quantized, squareplus
from ipex_quant import _C, fusion


def test_a_function_is_a_table_in_the_epilogue() -> None:
    model = block(squareplus)
    module = quantized(model, fusion.elementwise("squareplus", squareplus))
    assert kinds(module) == INT8_ONLY
    assert noise(model, module) < 0.02
    first = ipex_quant.report(module).rows[0]
    assert first.kernel.endswith("|table]")
    (row,) = ipex_quant.report(module).fusions
    assert (row.name, len(row.ops), row.refusal) == ("squareplus", 5, "")


def test_its_table_is_the_function_of_each_code() -> None:
    model = block(squareplus)
    module = quantized(model, fusion.elementwise("squareplus", squareplus))
    packed = [n.output().toIValue() for n in module.graph.findAllNodes("prim::Constant")]
    (text,) = (
        part
        for value in packed
        if isinstance(value, torch.ScriptObject)
        for part in value.__getstate__()[0]
        if isinstance(part, str) and "table(" in part
    )
    quantize, table = text.split("|")
    scale, zero = quantize.removeprefix("quantize(").rstrip(")").split(",")
    x = torch.ops.ipex_quant.dequantize(
        torch.arange(256, dtype=torch.uint8), float(scale), int(zero)
    )
    got = torch.tensor(list(bytes.fromhex(table.removeprefix("table(").rstrip(")"))))
    y = squareplus(x)
    step = (y.max() - y.min()) / (got.max() - got.min())
    assert ((got - got[0]) * step - (y - y[0])).abs().max() <= step


def test_every_instruction_set_gives_the_same_bits() -> None:
    module = quantized(block(squareplus), fusion.elementwise("squareplus", squareplus))
    x = images()[0]
    want = module(x)
    try:
        for isa in _C.isa_names():
            try:
                _C.set_isa_cap(isa)
            except ValueError:  # this CPU has it not
                continue
            assert torch.equal(module(x), want), isa
    finally:
        _C.set_isa_cap("")


def test_a_saved_module_gives_the_same_bits() -> None:
    module = quantized(block(squareplus), fusion.elementwise("squareplus", squareplus))
    file = io.BytesIO()
    torch.jit.save(module, file)
    file.seek(0)
    loaded = ipex_quant.jit.load(file)
    assert torch.equal(loaded(images()[0]), module(images()[0]))
    assert ipex_quant.report(loaded).fusions == ipex_quant.report(module).fusions


class Scaled(nn.Module):
    """An activation with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.atan(x * self.scale)


HALF = torch.tensor(0.5)

#: Functions whose first op is recorded by calibration; several are rewritten by normalization.
FUNCTIONS = {
    "one op": torch.sin,
    "a number first": lambda x: 1.0 - torch.exp(-x.abs()),
    "silu inside": lambda x: F.silu(x) + 0.1 * x,
    "in place": lambda x: torch.exp(x).add_(1).log_(),
    "a module": Scaled().eval(),
    "a constant tensor": lambda x: torch.cos(x) * HALF,
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_of_several_forms(function: Callable) -> None:
    model = block(function)
    module = quantized(model, fusion.elementwise("mine", function))
    assert kinds(module) == INT8_ONLY, ipex_quant.report(module)
    assert noise(model, module) < 0.03


def test_prepare_and_convert_use_registered_fusions() -> None:
    model = block(squareplus).eval()
    prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, images()[0])
    for x in images():
        prepared(x)
    with fusion.register(fusion.elementwise("squareplus", squareplus)):
        assert kinds(ipex_quant.convert(prepared).compiled) == INT8_ONLY
    assert fusion.registered() == ()
    assert "aten::sqrt" in kinds(ipex_quant.convert(prepared).compiled)


class Tail(Block):
    """The activation's result is the model's output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.one(x))


class Normed(Block):
    """The activation's input is made in float."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.activation(F.instance_norm(self.one(x))))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Tail, "its result is used in float"),
        (Normed, "an input comes from aten::instance_norm in float"),
    ],
)
def test_a_function_without_a_place_stays_float_with_the_reason(kind: Any, reason: str) -> None:
    model = kind(squareplus)
    module = quantized(model, fusion.elementwise("squareplus", squareplus))
    assert noise(model, module) < 0.02
    report = ipex_quant.report(module)
    assert [row.refusal for row in report.fusions] == [reason]
    assert f"fusion 'squareplus': {reason}" in [row.reason for row in report]
    assert reason in str(report)


def test_a_function_without_a_calibrated_range_stays_float() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0(x)

    module = quantized(block(function), fusion.elementwise("bessel", function))
    (row,) = ipex_quant.report(module).fusions
    assert row.refusal.startswith("calibration has no range for its input")


def test_a_fusion_that_matches_nothing_says_so() -> None:
    module = quantized(block(F.relu), fusion.elementwise("squareplus", squareplus))
    (row,) = ipex_quant.report(module).fusions
    assert row.ops == []
    assert row.refusal == (
        "its pattern does not occur in the model, which has no aten::add, aten::mul, aten::sqrt"
    )


def test_a_post_op_joins_the_epilogue_of_a_float_result() -> None:
    def softcap(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / 3.0) * 3.0

    model = Tail(softcap)
    module = quantized(
        model,
        fusion.post_op(
            "softcap", softcap, "mul(0.333333333)|tanh|mul(3)", example_inputs=[torch.randn(2, 3)]
        ),
    )
    assert kinds(module) == INT8_ONLY[:2]
    assert "mul(0.333333333)|tanh|mul(3)" in ipex_quant.report(module).rows[0].kernel
    assert noise(model, module) < 0.02


def test_a_post_op_reads_a_tensor() -> None:
    def pattern(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (x.clamp(-1, 1) + other) * 0.5

    class Sum(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return pattern(self.two(self.one(x)), torch.sigmoid(self.two(F.relu(self.one(x)))))

    model = Sum(F.relu)
    steps = "clamp(-1,1)|add_f32|mul(0.5)"
    example = [torch.randn(2, 3), torch.randn(2, 3)]
    module = quantized(model, fusion.post_op("mix", pattern, steps, example_inputs=example))
    (row,) = ipex_quant.report(module).fusions
    assert row.refusal == ""
    kernels = [row.kernel for row in ipex_quant.report(module)]
    assert any("clamp(-1,1)|add_" in kernel for kernel in kernels), kernels
    assert noise(model, module) < 0.03


@pytest.fixture(scope="module")
def library() -> Any:
    """Two operators of a user."""
    lib = torch.library.Library("fusion_test", "DEF")
    lib.define("channel_norm(Tensor x, float eps) -> Tensor")
    lib.define("sign_codes(Tensor q, int zero_point) -> Tensor")
    lib.impl("channel_norm", channel_norm, "CompositeExplicitAutograd")
    lib.impl(
        "sign_codes",
        lambda q, z: torch.where(q > z, 255, torch.where(q < z, 1, 128)).to(torch.uint8),
        "CompositeExplicitAutograd",
    )
    return lib


def channel_norm(x: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + eps)


def test_a_rewrite_to_the_users_operator(library: Any) -> None:
    def replacement(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, eps: float) -> torch.Tensor:
        return torch.ops.fusion_test.channel_norm(F.conv2d(x, w, b, padding=1), eps)

    def pattern(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, eps: float) -> torch.Tensor:
        return channel_norm(F.conv2d(x, w, b, padding=1), eps)

    model = block(lambda x: channel_norm(x, 1e-4))
    example = [torch.randn(1, 3, 8, 8), torch.randn(16, 3, 3, 3), torch.randn(16), 0.0123]
    mine = fusion.rewrite("conv_norm", pattern, replacement, example_inputs=example)
    module = quantized(model, mine)
    assert "fusion_test::channel_norm" in kinds(module)
    assert kinds(module).count("ipex_quant::conv") == 2
    assert "aten::rsqrt" not in kinds(module)
    assert noise(model, module) < 0.02
    reasons = [row.reason for row in ipex_quant.report(module)]
    assert "fusion 'conv_norm' made it fusion_test::channel_norm" in reasons


def test_a_rewrite_on_int8_tensors(library: Any) -> None:
    def pattern(q: Any, s: float, z: int, s2: float, z2: int) -> Any:
        x = torch.ops.ipex_quant.dequantize(q, s, z)
        return torch.ops.ipex_quant.quantize(torch.special.i0(x), s2, z2)

    def replacement(q: Any, s: float, z: int, s2: float, z2: int) -> Any:
        return torch.ops.fusion_test.sign_codes(q, z)

    class Pooled(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.one(x)
            return self.two(torch.special.i0(F.max_pool2d(x, 2))), self.two(F.max_pool2d(x, 2))

    q = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    mine = fusion.rewrite(
        "sign", pattern, replacement, example_inputs=[q, 0.123, 77, 0.321, 99], on="int8"
    )
    module = quantized(Pooled(F.relu), mine)
    (row,) = ipex_quant.report(module).fusions
    assert row.refusal == ""
    assert "fusion_test::sign_codes" in kinds(module)
    (op,) = [r for r in ipex_quant.report(module) if r.kernel == "fusion_test::sign_codes"]
    assert op.became == "int8"
