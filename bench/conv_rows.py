"""Rows of `python -m bench.kernels` for convolutions in one, two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from bench.calls import Call
from bench.kernel_row import (
    OUT_SCALE,
    X_SCALE,
    X_ZERO_POINT,
    Row,
    dequantized,
    quantized,
    random_s8,
    random_u8,
)

ops = torch.ops.ipex_quant
onednn = torch.ops.onednn


class Conv(NamedTuple):
    """Channels in and out, sides of the image, and the window, which has equal sides."""

    name: str
    cin: int
    cout: int
    size: int | tuple[int, ...]  # an int: both sides of an image
    kernel: int
    stride: int
    padding: int
    groups: int
    dilation: int = 1

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size


CONV = [
    # ResNet-50
    Conv("first 7x7/2 3-64 224", 3, 64, 224, 7, 2, 3, 1),
    Conv("1x1 64-64 56", 64, 64, 56, 1, 1, 0, 1),
    Conv("3x3 64-64 56", 64, 64, 56, 3, 1, 1, 1),
    Conv("1x1 64-256 56", 64, 256, 56, 1, 1, 0, 1),
    Conv("1x1 256-64 56", 256, 64, 56, 1, 1, 0, 1),
    Conv("1x1 256-128 56", 256, 128, 56, 1, 1, 0, 1),
    Conv("3x3/2 128-128 56", 128, 128, 56, 3, 2, 1, 1),
    Conv("1x1 128-512 28", 128, 512, 28, 1, 1, 0, 1),
    Conv("1x1/2 256-512 56", 256, 512, 56, 1, 2, 0, 1),
    Conv("1x1 512-128 28", 512, 128, 28, 1, 1, 0, 1),
    Conv("3x3 128-128 28", 128, 128, 28, 3, 1, 1, 1),
    Conv("3x3/2 256-256 28", 256, 256, 28, 3, 2, 1, 1),
    Conv("1x1 256-1024 14", 256, 1024, 14, 1, 1, 0, 1),
    Conv("1x1 1024-256 14", 1024, 256, 14, 1, 1, 0, 1),
    Conv("3x3 256-256 14", 256, 256, 14, 3, 1, 1, 1),
    Conv("3x3/2 512-512 14", 512, 512, 14, 3, 2, 1, 1),
    Conv("1x1 512-2048 7", 512, 2048, 7, 1, 1, 0, 1),
    Conv("1x1 2048-512 7", 2048, 512, 7, 1, 1, 0, 1),
    Conv("3x3 512-512 7", 512, 512, 7, 3, 1, 1, 1),
    # EfficientNet-Lite0, a ViT's patches, ResNeXt
    Conv("first 3x3/2 3-32 224", 3, 32, 224, 3, 2, 1, 1),
    Conv("1x1 32-16 112", 32, 16, 112, 1, 1, 0, 1),
    Conv("1x1 16-96 112", 16, 96, 112, 1, 1, 0, 1),
    Conv("1x1 24-144 56", 24, 144, 56, 1, 1, 0, 1),
    Conv("1x1 144-24 56", 144, 24, 56, 1, 1, 0, 1),
    Conv("1x1 40-240 28", 40, 240, 28, 1, 1, 0, 1),
    Conv("1x1 1152-192 7", 1152, 192, 7, 1, 1, 0, 1),
    Conv("patches 16x16 3-192 224", 3, 192, 224, 16, 16, 0, 1),
    Conv("3x3 groups 32 128-128 56", 128, 128, 56, 3, 1, 1, 32),
    # the last layers of super-resolution and of a decoder
    Conv("3x3 64-3 224", 64, 3, 224, 3, 1, 1, 1),
    Conv("3x3 32-1 112", 32, 1, 112, 3, 1, 1, 1),
    # DeepLab's third stage; wav2vec2 and a temporal network; the second stage of a 3-D ResNet
    Conv("3x3 dilated 2 256-256 28", 256, 256, 28, 3, 1, 2, 1, 2),
    Conv("1d 3/2 512-512 1599", 512, 512, (1599,), 3, 2, 0, 1),
    Conv("1d 5 dilated 4 128-128 512", 128, 128, (512,), 5, 1, 8, 1, 4),
    Conv("3d 3x3x3 64-64 8x28x28", 64, 64, (8, 28, 28), 3, 1, 1, 1),
]

DEPTHWISE = [
    Conv("3x3 32 112", 32, 32, 112, 3, 1, 1, 32),
    Conv("3x3/2 96 112", 96, 96, 112, 3, 2, 1, 96),
    Conv("3x3 144 56", 144, 144, 56, 3, 1, 1, 144),
    Conv("5x5/2 144 56", 144, 144, 56, 5, 2, 2, 144),
    Conv("5x5 240 28", 240, 240, 28, 5, 1, 2, 240),
    Conv("3x3 480 14", 480, 480, 14, 3, 1, 1, 480),
    Conv("5x5 672 14", 672, 672, 14, 5, 1, 2, 672),
    Conv("5x5 1152 7", 1152, 1152, 7, 5, 1, 2, 1152),
    Conv("3x3 1152 7", 1152, 1152, 7, 3, 1, 1, 1152),
    Conv("3x3 multiplier 2 32-64 112", 32, 64, 112, 3, 1, 1, 32),
]

# A U-Net's and a DCGAN's step up.
TRANSPOSED = [
    Conv("transposed 2x2/2 128-64 56", 128, 64, 56, 2, 2, 0, 1),
    Conv("transposed 4x4/2 256-128 16", 256, 128, 16, 4, 2, 1, 1),
]


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """The same numbers with the channels of a pixel side by side."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def conv_rows(op: str, cases: list[Conv]) -> Iterator[Row]:
    for case in cases:
        dims = len(case.sizes)
        x = channels_last(random_u8(1, case.cin, *case.sizes))
        w = random_s8(case.cout, case.cin // case.groups, *[case.kernel] * dims)
        s, b = torch.rand(case.cout) * 0.01, torch.randn(case.cout)
        window = ([case.stride] * dims, [case.padding] * dims, [case.dilation] * dims)
        packed = ops.conv_prepack(
            *(w, s, b, *window, [0] * dims, case.groups, False, X_SCALE, X_ZERO_POINT),
            f"relu|quantize({OUT_SCALE},0)",
        )
        theirs = {"x": x, "s": s, "b": b, "z": torch.zeros(case.cout, dtype=torch.int32)}
        theirs["w"] = onednn.qconv_prepack(
            *(w, s, X_SCALE, X_ZERO_POINT, *window, case.groups, list(x.shape))
        )
        relu = "relu" if dims < 3 else "none"  # which is the same with the zero point at 0
        reach = (case.kernel - 1) * case.dilation
        pixels = [(size + 2 * case.padding - reach - 1) // case.stride + 1 for size in case.sizes]
        yield Row(
            *(op, case.name, math.prod(pixels) * w.numel()),
            Call("torch.ops.ipex_quant.conv(x, packed, [])", {"x": x, "packed": packed}),
            Call(
                f"torch.ops.onednn.qconv{dims}d_pointwise(x, {X_SCALE}, {X_ZERO_POINT}, w, s, z, b,"
                f" {window[0]}, {window[1]}, {window[2]}, {case.groups},"
                f" {OUT_SCALE}, 0, torch.uint8, '{relu}', [], '')",
                theirs,
            ),
        )


def transposed_rows() -> Iterator[Row]:
    """The competitor is torch's in float32.

    torch.ops.quantized.conv_transpose2d has no scale per channel, and with onednn torch 2.13 gets
    other numbers out of it than its float operator.
    """
    for case in TRANSPOSED:
        x = channels_last(random_u8(1, case.cin, *case.sizes))
        w = random_s8(case.cin, case.cout, case.kernel, case.kernel)
        s, b = torch.rand(case.cout) * 0.01, torch.randn(case.cout)
        stride, padding, ones, zeros = [case.stride] * 2, [case.padding] * 2, [1, 1], [0, 0]
        packed = ops.conv_prepack(
            *(w, s, b, stride, padding, ones, zeros, 1, True, X_SCALE, X_ZERO_POINT),
            f"quantize({OUT_SCALE},100)",
        )
        floats = {"x": dequantized(x, X_SCALE, X_ZERO_POINT), "w": w * s[:, None, None], "b": b}
        yield Row(
            *("conv", case.name, math.prod(case.sizes) * w.numel()),
            Call("torch.ops.ipex_quant.conv(x, packed, [])", {"x": x, "packed": packed}),
            theirs := Call(f"torch.conv_transpose2d(x, w, b, {stride}, {padding})", floats),
            expected=lambda theirs=theirs: quantized(theirs.repeated()(1), OUT_SCALE, 100),
        )
