"""Fusions of the user: a pattern in the graph, and what is put in its place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fusion:
    """A rewrite for ``jit.quantize(..., fusions=[...])``; it holds for that one call.

    Pattern and replacement are TorchScript IR with the same inputs and outputs in the same order.
    The pattern is looked for after quantize/dequantize pairs were put in and before the built-in
    fusions; the replacement may call any registered operator.

        Fusion(
            "square",
            pattern="graph(%x):\\n  %y : Tensor = aten::mul(%x, %x)\\n  return (%y)",
            replacement="graph(%x):\\n  %y : Tensor = aten::square(%x)\\n  return (%y)",
        )
    """

    name: str
    pattern: str
    replacement: str
