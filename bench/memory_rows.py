"""Rows of `python -m bench.memory`: operators that read and write more than they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from bench.calls import Call, check
from bench.kernel_row import quantized, random_s8, random_u8

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
    product = (0.1, 7)
    add = ops.binary_prepack("add", *HERE, *HERE, "quantize({},{})".format(*THERE))
    mul = ops.binary_prepack("mul", *HERE, *HERE, "quantize({},{})".format(*product))
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
    yield Row(
        *("mul", case, "binary(q, other, packed, [])"),
        {"q": q, "other": other, "packed": mul},
        lambda: quantized(dequantized(q) * dequantized(other), *product),
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
        *("avg_pool 3x3/2", "4x64x112x112"),
        "avg_pool(q, [3, 3], [2, 2], [1, 1], False, True, None, {}, {}, {}, {})".format(
            *HERE, *THERE
        ),
        {"q": wide},
        lambda: quantized(F.avg_pool2d(dequantized(wide), 3, 2, 1), *THERE),
    )
    yield Row(
        *("adaptive_avg_pool", "4x2048x7x7"),
        "adaptive_avg_pool(q, [1, 1], {}, {}, {}, {})".format(*HERE, *THERE),
        {"q": deep},
        lambda: quantized(dequantized(deep).mean((2, 3), keepdim=True), *THERE),
    )


def cat_rows() -> Iterator[Row]:
    """Branches as Inception joins them: bytes that are only copied, and bytes of two scales."""
    first, second = images(4, 64, 56, 56), images(4, 192, 56, 56)
    for name, scale in (("cat", HERE), ("cat requantize", THERE)):
        yield Row(
            *(name, "4x(64+192)x56x56"),
            "cat([a, b], [{}, {}], [{}, {}], 1, {}, {})".format(
                *(HERE[0], scale[0], HERE[1], scale[1]), *HERE
            ),
            {"a": first, "b": second},
            lambda scale=scale: quantized(
                torch.cat([dequantized(first), dequantized(second, *scale)], 1), *HERE
            ),
        )


def table_row(op: str, call: str, rows: int, width: int, indices: torch.Tensor) -> Row:
    """A row whose expected result is every row that `indices` names, in float."""
    table, scale = random_s8(rows, width), torch.rand(rows) * 0.02
    return Row(
        *(op, f"{rows}x{width}, {indices.numel()} rows", call),
        {"indices": indices, "packed": ops.embedding_prepack(table, scale, "")},
        lambda: table[indices].float() * scale[indices][..., None],
        packed_bytes=indices.numel() * (width + scale.itemsize),
    )


def embedding_rows() -> Iterator[Row]:
    """BERT-base's words, and bags of a recommender: neither table fits into L3 of many machines."""
    words = torch.randint(0, 30_522, (4, 128))
    yield table_row("embedding", "embedding(indices, packed)", 30_522, 768, words)
    bags = torch.randint(0, 1_000_000, (2048, 20))
    row = table_row(
        *("embedding_bag", "embedding_bag(indices, None, packed, 0, None, False, -1)"),
        *(1_000_000, 64, bags),
    )
    yield replace(row, expected=lambda: row.expected().sum(1))


def norm_rows() -> Iterator[Row]:
    """Norms and softmax with quantized results: BERT-base, T5 and a diffusion U-Net at batch 1."""
    out = (0.04, 128)
    x, scores = torch.randn(128, 768) * 2, torch.randn(12, 128, 128) * 3
    weight, bias = torch.rand(768) + 0.5, torch.randn(768)
    yield Row(
        *("softmax", "12x128x128", f"softmax(x, {1 / 256}, 0)", {"x": scores}),
        lambda: quantized(torch.softmax(scores, -1), 1 / 256, 0),
    )
    yield Row(
        *("layer_norm_quantize", "128x768"),
        "layer_norm_quantize(x, weight, bias, 1e-5, None, {}, {})".format(*out),
        {"x": x, "weight": weight, "bias": bias},
        lambda: quantized(F.layer_norm(x, (768,), weight, bias), *out),
    )
    yield Row(
        *("rms_norm_quantize", "128x768"),
        "rms_norm_quantize(x, weight, 1e-5, {}, {})".format(*out),
        {"x": x, "weight": weight},
        lambda: quantized(F.rms_norm(x, (768,), weight, 1e-5), *out),
    )
    image = (torch.randn(1, 320, 32, 32) * 2).contiguous(memory_format=torch.channels_last)
    factor, shift = torch.rand(320) + 0.5, torch.randn(320)
    yield Row(
        *("group_norm", "1x320x32x32"),
        "group_norm(x, 32, factor, shift, 1e-5, 'quantize({},{})')".format(*out),
        {"x": image, "factor": factor, "shift": shift},
        lambda: quantized(F.group_norm(image, 32, factor, shift), *out),
    )


def rows(sizes: Sequence[int] = SIZES) -> Iterator[Row]:
    """All of them, one after the other: a row's tensors go before the next one's come."""
    for n in sizes:
        yield from value_rows(n)
    for some in (image_rows, cat_rows, embedding_rows, norm_rows):
        yield from some()
