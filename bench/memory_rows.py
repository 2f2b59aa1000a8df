"""Rows of `python -m bench.memory`: operators that read and write more than they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.calls import Call, check
from bench.kernel_row import quantized, random_u8

ops = torch.ops.ipex_quant
SIZES = [1 << 18, 1 << 21, 1 << 24]
HERE, THERE = (0.02, 3), (0.03, 7)
"""Scale and zero point of what is read and of what is written."""


@dataclass
class Row:
    """One case: an operator call on `inputs`, by name, gives what `expected()` computes.

    `packed_bytes` are read of a packed object beside the input tensors; float results may be off
    by `tolerance` of the largest one.
    """

    op: str
    case: str
    operator_call: str
    inputs: dict[str, Any]
    expected: Callable[[], torch.Tensor]
    packed_bytes: int = 0
    tolerance: float = 1e-6

    @property
    def call(self) -> Call:
        return Call(f"torch.ops.ipex_quant.{self.operator_call}", self.inputs)

    def check(self) -> int:
        """Stop the program if the result differs; the bytes that a call reads and writes."""
        got = self.call.repeated()(1)
        check(f"{self.op} {self.case}", got, self.expected(), self.tolerance)
        read = [x for x in self.inputs.values() if isinstance(x, torch.Tensor)]
        return sum(x.nbytes for x in [*read, got]) + self.packed_bytes


def dequantized(q: torch.Tensor, scale: float = HERE[0], zero_point: int = HERE[1]) -> torch.Tensor:
    return (q.int() - zero_point).float() * torch.tensor(scale)


def images(*shape: int) -> torch.Tensor:
    """Bytes whose channels lie side by side."""
    return random_u8(*shape).contiguous(memory_format=torch.channels_last)


def value_rows(n: int) -> Iterator[Row]:
    """Operators on n values."""
    x, q = torch.randn(n) * 2, random_u8(n)
    other, table = q.flip(0), torch.randperm(256).to(torch.uint8)
    add = ops.binary_prepack("add", *HERE, *HERE, "quantize({},{})".format(*THERE))
    case = f"{n >> 10} Ki values"
    yield Row(
        *("quantize", case, "quantize(x, {}, {})".format(*HERE)),
        *({"x": x}, lambda: quantized(x, *HERE)),
    )
    yield Row(
        *("dequantize", case, "dequantize(q, {}, {})".format(*HERE)),
        *({"q": q}, lambda: dequantized(q)),
    )
    yield Row(
        *("requantize", case, "requantize(q, {}, {}, {}, {})".format(*HERE, *THERE)),
        *({"q": q}, lambda: quantized(dequantized(q), *THERE)),
    )
    yield Row("lut", case, "lut(q, table)", {"q": q, "table": table}, lambda: table[q.int()])
    yield Row(
        *("add", case, "binary(q, other, packed, [])"),
        {"q": q, "other": other, "packed": add},
        lambda: quantized(dequantized(q) + dequantized(other), *THERE),
    )


def image_rows() -> Iterator[Row]:
    """Operators on images, of the sizes that ResNet-50 has at batch 4."""
    x = torch.randn(4, 3, 224, 224) * 2
    yield Row(
        *("quantize_channels_last", "4x3x224x224"),
        *("quantize_channels_last(x, {}, {})".format(*HERE), {"x": x}),
        lambda: quantized(x, *HERE),
    )
    wide, deep = images(4, 64, 112, 112), images(4, 2048, 7, 7)
    yield Row(
        *("max_pool 3x3/2", "4x64x112x112"),
        *("max_pool(q, [3, 3], [2, 2], [1, 1], [1, 1], False)", {"q": wide}),
        lambda: torch.max_pool2d(wide.float(), 3, 2, 1).to(torch.uint8),
    )
    yield Row(
        *("adaptive_avg_pool", "4x2048x7x7"),
        "adaptive_avg_pool(q, [1, 1], {}, {}, {}, {})".format(*HERE, *THERE),
        {"q": deep},
        lambda: quantized(dequantized(deep).mean((2, 3), keepdim=True), *THERE),
    )


def rows(sizes: Sequence[int] = SIZES) -> Iterator[Row]:
    """All of them, one after the other: a row's tensors go before the next one's come."""
    for n in sizes:
        yield from value_rows(n)
    yield from image_rows()
