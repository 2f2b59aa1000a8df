"""report_json: what became of ops that were decided float but have int8 neighbours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compile_tools import Compiled

KEPT = "kept by the test"


class Residual(nn.Module):
    """An addition and an activation that fit the epilogue of the second convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.three = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.one(x)
        return self.three(F.silu(self.two(x) + x))


class Between(nn.Module):
    """One op that no epilogue can take; another convolution wants its input in int8."""

    def __init__(self, op: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.op = op
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 4, 1)
        self.three = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = F.max_pool2d(self.one(x), 2)
        return self.two(self.op(x)), self.three(x)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 16)
        self.others = nn.Linear(48, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        all_three = self.qkv(x)
        q, k, v = all_three.chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v)), self.others(all_three)


IMAGE = (2, 3, 8, 8)


def compiled(model: nn.Module, *sites: str, shape: tuple[int, ...] = IMAGE) -> Compiled:
    return Compiled(model, torch.randn(shape), keep_float=dict.fromkeys(sites, KEPT))


def row(result: Compiled, op: str, module: str = "") -> dict:
    (found,) = [r for r in result.report if (r["module"], r["op"]) == (module, f"aten::{op}")]
    return found


@pytest.mark.parametrize(("site", "op"), [("/add/0", "add"), ("/silu/0", "silu")])
def test_float_step_of_an_epilogue_is_float_and_says_where(site: str, op: str) -> None:
    result = compiled(Residual(), site)
    found = row(result, op)
    assert found["became"] == "float"
    assert found["kernel"] == "ipex_quant::conv"
    assert op in found["epilogue"]
    assert (
        found["reason"] == f"{KEPT}; computed in float32 in the epilogue of aten::conv2d 0 of 'two'"
    )


def test_the_other_ops_of_that_epilogue_are_int8() -> None:
    result = compiled(Residual(), "/add/0")
    for found in (row(result, "silu"), row(result, "conv2d", "two")):
        assert (found["became"], found["kernel"]) == ("int8", "ipex_quant::conv")
        assert not found["reason"]


def test_anchor_of_the_model_itself_has_no_module() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(F.linear(x, self.weight))

    result = compiled(Plain(), "/relu/0", shape=(4, 8))
    assert row(result, "relu")["reason"].endswith("in the epilogue of aten::linear 0")


def test_summary_without_a_reason_is_named() -> None:
    result = Compiled(Residual(), torch.randn(IMAGE), keep_float={"/add/0": ""})
    assert row(result, "add")["reason"].startswith("kept float by the summary; computed in float32")


def test_float_op_alone_has_its_reason_alone() -> None:
    result = compiled(Residual(), "two/conv/0")
    found = row(result, "conv2d", "two")
    assert (found["became"], found["kernel"], found["reason"]) == ("float", "", KEPT)


def test_table_of_a_float_op() -> None:
    result = compiled(Between(torch.tanh), "/tanh/0")
    found = row(result, "tanh")
    assert (found["became"], found["kernel"]) == ("float", "ipex_quant::lut")
    assert found["reason"] == (
        f"{KEPT}; computed in float32 for each of the 256 codes of its input, which is int8 anyway"
    )


def test_sum_of_int8_values() -> None:
    result = compiled(Between(lambda x: x + x.flip(-1)), "/add/0")
    found = row(result, "add")
    assert (found["became"], found["kernel"]) == ("float", "ipex_quant::binary")
    assert found["reason"] == (
        f"{KEPT}; computed by ipex_quant::binary from operands that are int8 anyway"
    )


def test_pool_that_moves_int8_data() -> None:
    result = compiled(Between(F.relu), "/max_pool/0")
    found = row(result, "max_pool2d")
    assert (found["became"], found["kernel"]) == ("pass_through", "ipex_quant::max_pool")
    assert found["reason"] == f"{KEPT}; it only moves data, which is int8 anyway"


def test_pad_of_int8_values_passes_them_through() -> None:
    """On int8 data it fills with the zero point; one that cuts off does not fold into a conv."""
    found = row(compiled(Between(lambda y: F.pad(y, (-1, 1, 0, 2)))), "pad")
    assert (found["became"], found["reason"]) == ("pass_through", "")


def test_cat_of_one_scale_passes_it_through() -> None:
    result = compiled(Between(lambda y: torch.cat([y, y.flip(-1)], 2)))
    found = row(result, "cat")
    assert (found["became"], found["reason"]) == ("pass_through", "")
    assert result.kinds.count("ipex_quant::cat") == 1


def test_attention_of_int8_values_is_float() -> None:
    result = compiled(Attention(), "/sdpa/0", shape=(2, 5, 16))
    found = row(result, "scaled_dot_product_attention")
    assert found["became"] == "float"
    assert found["reason"].startswith(KEPT)
    assert result.kinds.count("aten::softmax") == 1


@pytest.mark.parametrize("site", ["/add/0", "/silu/0"])
def test_decision_adds_no_rounding(site: str) -> None:
    """The sum and the activation give the numbers they have in float between the kernels."""
    result = compiled(Residual(), site)
    wanted = result.fake_quantized()(*result.inputs)
    with torch.no_grad():
        got = result.module(*result.inputs)
    assert ((wanted - got).norm() / wanted.norm()).item() < 0.002


def test_every_float_row_has_a_reason() -> None:
    result = compiled(Residual(), "/add/0", "/silu/0", "one/conv/0", "two/conv/0", "three/conv/0")
    assert all(r["became"] != "float" or r["reason"].startswith(KEPT) for r in result.report)
    assert [r["became"] for r in result.report].count("float") == 5
