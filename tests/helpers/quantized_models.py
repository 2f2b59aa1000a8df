"""Compiles models that torch quantized, and compares them with torch by quantization steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import ipex_quant


def compiled(model: nn.Module, x: torch.Tensor) -> Any:
    """The int8 module of a model's trace."""
    with torch.no_grad():
        traced = torch.jit.trace(model, x, check_trace=False)
    return ipex_quant.jit.quantize(traced)


def kinds(quantized: Any) -> list[str]:
    """Operators of a module in order."""
    found = (node.kind() for node in quantized.graph.nodes())
    return [kind for kind in found if not kind.startswith("prim::")]


def assert_steps(ours: torch.Tensor, expected: torch.Tensor, step: float, share: float) -> None:
    """No value is more than a step away, and few are away at all."""
    off = ((ours - expected) / step).abs()
    assert float(off.max()) < 1.01
    assert float((off > 0.01).float().mean()) <= share
