"""Operators on torch's quantized tensors, written by hand: qparams that follow, and what stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from quantized_models import assert_steps, compiled, kinds

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


class ByHand(nn.Module):
    """Quantized tensors of torch that meet other operators than ours."""

    def __init__(self, what: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        self.what, self.dtype = what, dtype
        weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
        scales = weight.abs().amax(1) / 127
        zeros = torch.zeros(6, dtype=torch.int64)
        self.register_buffer(
            "weight", torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zero = 100 if self.dtype is torch.quint8 else -28
        q = self.what(torch.quantize_per_tensor(x, 0.04, zero, self.dtype))
        y = nn.functional.linear(q.dequantize(), self.weight.dequantize())
        return torch.quantize_per_tensor(y, 0.2, zero, self.dtype).dequantize()


def by_hand(
    what: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype = torch.quint8
) -> tuple[Any, nn.Module]:
    model = ByHand(what, dtype).eval()
    return compiled(model, torch.randn(4, 8)), model


@pytest.mark.parametrize("dtype", [torch.quint8, torch.qint8])
@pytest.mark.parametrize(
    "what",
    [
        lambda q: q,
        torch.relu,
        lambda q: q.reshape(2, 2, 8).permute(1, 0, 2).reshape(4, 8),
        lambda q: torch.cat([q[:, 4:], q[:, :4]], 1),
        lambda q: torch.cat(q.chunk(2, 1)[::-1], 1),
        lambda q: torch.clamp(q, -1.0, 1.5),
        lambda q: q.reshape(4, 1, 8).mean(1),
        lambda q: q.reshape(q.shape[0], -1),
    ],
)
def test_operators_on_quantized_tensors(what: Callable, dtype: torch.dtype) -> None:
    quantized, model = by_hand(what, dtype)
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(9))[:4]
    assert_steps(quantized(x), model(x), 0.2, 0.15)
    assert "ipex_quant::linear" in kinds(quantized)
    assert not [k for k in kinds(quantized) if k == "aten::quantize_per_tensor"]


def test_activations_of_torch_whose_qparams_are_fixed() -> None:
    for function in (torch.sigmoid, torch.tanh):
        quantized, model = by_hand(function)
        x = torch.randn(4, 8, generator=torch.Generator().manual_seed(9))
        assert_steps(quantized(x), model(x), 0.2, 0.15)
        assert "ipex_quant::linear" in kinds(quantized)


def test_an_operator_without_a_rewrite_stays_on_quantized_tensors() -> None:
    quantized, model = by_hand(lambda q: torch.topk(q, 8, 1)[0])
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(9))
    assert torch.equal(quantized(x), model(x))
    row = next(r for r in ipex_quant.report(quantized) if r.op == "aten::topk")
    assert (row.became, row.reason) == (
        "float",
        "no int8 kernel for this op on torch's quantized tensors",
    )
    assert "aten::topk" in kinds(quantized)
