"""What a row of `python -m bench.kernels` is, and what the rows draw their inputs from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.calls import Call, check

X_SCALE, X_ZERO_POINT = 0.02, 3
OUT_SCALE = 3.0
LOOSE = 0.05
"""What torch's own quantization at run time may cost it, as a part of the largest result."""


@dataclass
class Row:
    """One case: `ours` and `theirs` compute the same, up to rounding.

    `weight_bytes` are what a call reads of its weights again and again, `reads` times. Where that
    is 0 the row is never bound by reading. `expected()` is what ours is checked against where
    theirs rounds at other places; float results may be off by `tolerance` of the largest one.
    """

    op: str
    case: str
    macs: int
    ours: Call
    theirs: Call
    weight_bytes: int = 0
    reads: int = 1
    tolerance: float = 0.0
    expected: Callable[[], torch.Tensor] | None = None

    def check(self) -> None:
        """Stop the program if the results differ."""
        name = f"{self.op} {self.case}"
        ours, theirs = self.ours.repeated()(1), self.theirs.repeated()(1)
        expected = self.expected() if self.expected else theirs
        check(name, ours, expected, self.tolerance)
        if theirs.dtype == expected.dtype:
            check(f"{name}, torch's result", theirs, expected, LOOSE)


def random_u8(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def random_s8(*shape: int) -> torch.Tensor:
    return torch.randint(-127, 128, shape, dtype=torch.int8)


def dequantized(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    return (x.float() - zero_point) * scale


def quantized(x: torch.Tensor, scale: float, zero_point: int) -> torch.Tensor:
    inverse = 1 / torch.tensor(scale)
    return (torch.round(x * inverse) + zero_point).clamp(0, 255).to(torch.uint8)


def quantized_weight(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The same int8 weight as torch's quantized operators take it, a scale for each row."""
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)  # deprecated
        return torch._make_per_channel_quantized_tensor(weight, scale.double(), zeros, 0)
