"""Pooling of uint8 against torch's float pooling and against an exact integer reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kernel_reference import quantize_reference
from kernel_reference import random_u8 as u8

ops = torch.ops.ipex_quant

IN = (0.05, 117)
OUT = (0.031, 90)

MAX = [F.max_pool1d, F.max_pool2d, F.max_pool3d]
AVG = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d]
ADAPTIVE = [F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d]
ADAPTIVE_MAX = [F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d]
IMAGES = [(2, 5, 23), (2, 19, 12, 11), (2, 70, 6, 7, 5)]


def centred(x: torch.Tensor) -> torch.Tensor:
    """q - zero_point in float64: every sum of it is exact."""
    return x.double() - IN[1]


def quantized_average(total: torch.Tensor, divisor: torch.Tensor | float) -> np.ndarray:
    """The contract: float(sum) * (scale / divisor) in float32, then quantize."""
    factor = np.float32(IN[0]) / np.asarray(divisor, dtype=np.float32)
    return quantize_reference(total.numpy().astype(np.float32) * factor, *OUT)


def layouts(x: torch.Tensor) -> list[torch.Tensor]:
    """The same values with channels outermost, innermost, and not dense."""
    innermost = x.movedim(1, -1).contiguous().movedim(-1, 1)
    return [x, innermost, torch.cat([x, x], 1)[:, : x.size(1)]]


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "ceil_mode"),
    [
        (2, 2, 0, 1, False),
        (3, 2, 1, 1, False),
        (3, 2, 1, 1, True),
        (3, 1, 1, 1, False),
        (2, 3, 1, 2, True),
        (5, 1, 2, 1, False),
    ],
)
def test_max_pool(
    vector_isa, nd, kernel, stride, padding, dilation, ceil_mode, same_for_all_threads
):
    x = u8(*IMAGES[nd - 1])
    arguments = ([kernel] * nd, [stride] * nd, [padding] * nd, [dilation] * nd, ceil_mode)
    expected = MAX[nd - 1](x.double(), *arguments[:4], ceil_mode=ceil_mode)
    for view in layouts(x):
        y = same_for_all_threads(lambda view=view: ops.max_pool(view, *arguments))
        assert torch.equal(y.double(), expected)
        assert y.movedim(1, -1).is_contiguous()
    assert torch.equal(ops.max_pool(x[0], *arguments), y[0])


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (4, 3, 2), (5, 4, 1)]
)
def test_avg_pool(vector_isa, nd, kernel, stride, padding):
    x = u8(*IMAGES[nd - 1])
    pool = AVG[nd - 1]
    ones = torch.ones(x.shape, dtype=torch.float64)
    for ceil_mode, include, override in itertools.product(
        (False, True), (False, True), (None,) if nd == 1 else (None, 7)
    ):
        keywords = {"ceil_mode": ceil_mode, "count_include_pad": include}
        if nd > 1:
            keywords["divisor_override"] = override
        shape = ([kernel] * nd, [stride] * nd, [padding] * nd)
        average = pool(centred(x), *shape, **keywords)
        # The divisor of each window, from an image of ones and the same image summed up.
        inside = pool(ones, *shape, **(keywords | {"count_include_pad": False}))
        assert nd == 1 or override is not None or torch.allclose(inside, torch.ones_like(inside))
        divisor = divisors(x.shape[2:], kernel, stride, padding, average.shape[2:], include)
        divisor = torch.full_like(divisor, float(override)) if override else divisor
        total = (average * divisor).round()
        for view in layouts(x):
            y = ops.avg_pool(view, *shape, ceil_mode, include, override, *IN, *OUT)
            np.testing.assert_array_equal(y, quantized_average(total, divisor.expand_as(total)))
            assert y.movedim(1, -1).is_contiguous()


def divisors(
    sizes: torch.Size, kernel: int, stride: int, padding: int, out: torch.Size, include: bool
) -> torch.Tensor:
    """Elements that each window of an average counts, as torch documents them."""
    result = torch.ones([1] * (2 + len(sizes)), dtype=torch.float64)
    for axis, (size, windows) in enumerate(zip(sizes, out, strict=True)):
        start = torch.arange(windows) * stride - padding
        end = torch.clamp(start + kernel, max=size + padding)
        if not include:
            start, end = torch.clamp(start, min=0), torch.clamp(end, max=size)
        shape = [1] * (2 + len(sizes))
        shape[2 + axis] = windows
        result = result * (end - start).double().reshape(shape)
    return result


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_adaptive_avg_pool(vector_isa, nd, size):
    x = u8(*IMAGES[nd - 1])
    average = ADAPTIVE[nd - 1](centred(x), [size] * nd)
    divisor = torch.ones([1] * (2 + nd), dtype=torch.float64)
    for axis in range(nd):
        extent = x.size(2 + axis)
        index = torch.arange(size)
        count = -(-(index + 1) * extent // size) - index * extent // size
        shape = [1] * (2 + nd)
        shape[2 + axis] = size
        divisor = divisor * count.double().reshape(shape)
    total = (average * divisor).round()
    for view in layouts(x):
        y = ops.adaptive_avg_pool(view, [size] * nd, *IN, *OUT)
        np.testing.assert_array_equal(y, quantized_average(total, divisor.expand_as(total)))


@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_adaptive_max_pool(vector_isa, nd, size, same_for_all_threads):
    x = u8(*IMAGES[nd - 1])
    sizes = [size + axis for axis in range(nd)]
    expected = ADAPTIVE_MAX[nd - 1](x.double(), sizes)
    for view in layouts(x):
        y = same_for_all_threads(lambda view=view: ops.adaptive_max_pool(view, sizes))
        assert torch.equal(y.double(), expected)
        assert y.movedim(1, -1).is_contiguous()
    assert torch.equal(ops.adaptive_max_pool(x[0], sizes), y[0])


@pytest.mark.parametrize("channels", [1, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130, 256, 300])
def test_channels(vector_isa, channels, same_for_all_threads):
    x = u8(3, channels, 9, 40).to(memory_format=torch.channels_last)
    y = same_for_all_threads(lambda: ops.max_pool(x, [3, 3], [2, 2], [1, 1], [1, 1], False))
    assert torch.equal(y.double(), F.max_pool2d(x.double(), 3, 2, 1))
    # 360 positions: more than fit into 16 bits.
    z = same_for_all_threads(lambda: ops.adaptive_avg_pool(x, [1, 1], *IN, *OUT))
    total = centred(x).sum((2, 3), keepdim=True)
    np.testing.assert_array_equal(z, quantized_average(total, 360.0))
    full = torch.full_like(x, 255)
    z = ops.adaptive_avg_pool(full, [1, 1], *IN, *OUT)
    np.testing.assert_array_equal(z, quantized_average(centred(full).sum((2, 3), True), 360.0))


@pytest.mark.parametrize("channels", [3, 16, 24, 64, 70])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1), (3, 2, 1, 2), (5, 1, 2, 1), (4, 3, 1, 1)],
)
def test_windows_that_share_columns(vector_isa, channels, kernel, stride, padding, dilation):
    window = ([kernel] * 2, [stride] * 2, [padding] * 2, [dilation] * 2)
    for width in (7, 10, 17, 26):
        x = u8(2, channels, 9, width).to(memory_format=torch.channels_last)
        expected = F.max_pool2d(x.double(), *window)
        assert torch.equal(ops.max_pool(x, *window, False).double(), expected), width


@pytest.mark.parametrize(
    "dim", [[2, 3], [-1, -2], [1], [0], [3], [0, 2], [1, 2, 3], [], [0, 1, 2, 3], [2]]
)
@pytest.mark.parametrize("keepdim", [False, True])
def test_mean(vector_isa, dim, keepdim, same_for_all_threads):
    x = u8(3, 20, 7, 9)
    total = centred(x).sum(dim or [0, 1, 2, 3], keepdim=keepdim)
    expected = quantized_average(total, x.numel() / total.numel())
    for view in [*layouts(x), x.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)]:
        y = same_for_all_threads(lambda view=view: ops.mean(view, dim, keepdim, *IN, *OUT))
        np.testing.assert_array_equal(y, expected)


def test_agrees_with_torch_float(vector_isa):
    x = u8(2, 64, 14, 14).to(memory_format=torch.channels_last)
    value = ops.dequantize(x, *IN)
    step = OUT[0]
    for y, expected in (
        (
            ops.avg_pool(x, [3, 3], [2, 2], [1, 1], False, True, None, *IN, *OUT),
            F.avg_pool2d(value, 3, 2, 1),
        ),
        (ops.adaptive_avg_pool(x, [1, 1], *IN, *OUT), F.adaptive_avg_pool2d(value, 1)),
        (ops.mean(x, [2, 3], False, *IN, *OUT), value.mean((2, 3))),
    ):
        low, high = -OUT[1] * step, (255 - OUT[1]) * step
        torch.testing.assert_close(
            ops.dequantize(y, *OUT), expected.clamp(low, high), rtol=0, atol=step * 0.501
        )


def test_defaults_and_empty_batch(vector_isa):
    x = u8(2, 8, 9, 9)
    assert torch.equal(
        ops.max_pool(x, [2, 2], [], [0], [1], False).double(), F.max_pool2d(x.double(), 2)
    )
    empty = x[:0]
    assert ops.max_pool(empty, [2, 2], [], [0], [1], False).shape == (0, 8, 4, 4)
    assert ops.adaptive_max_pool(empty, [3, 2]).shape == (0, 8, 3, 2)
    assert ops.adaptive_avg_pool(empty, [1, 1], *IN, *OUT).shape == (0, 8, 1, 1)
    assert ops.mean(empty, [2, 3], False, *IN, *OUT).shape == (0, 8)


IMAGE = torch.zeros(1, 4, 5, 5, dtype=torch.uint8)
BAD_CALLS = {
    "x must be a Byte tensor": lambda: ops.max_pool(IMAGE.float(), [2], [], [0], [1], False),
    "x must have 3 or 4 dimensions": lambda: ops.max_pool(IMAGE[0, 0], [2, 2], [], [0], [1], False),
    "kernel size must have 1 to 3": lambda: ops.max_pool(IMAGE, [], [], [0], [1], False),
    "stride must have 1 or 2 entries, got 3": lambda: ops.max_pool(
        IMAGE, [2, 2], [1, 1, 1], [0], [1], False
    ),
    "more than half of the effective kernel": lambda: ops.max_pool(
        IMAGE, [2, 2], [], [2], [1], False
    ),
    "must be positive": lambda: ops.max_pool(IMAGE, [2, 2], [0], [0], [1], False),
    "output would have size 0": lambda: ops.max_pool(IMAGE, [6, 6], [], [0], [1], False),
    "divisor_override must not be 0": lambda: ops.avg_pool(
        IMAGE, [2, 2], [], [0], False, True, 0, *IN, *OUT
    ),
    "output size must be positive": lambda: ops.adaptive_avg_pool(IMAGE, [0, 1], *IN, *OUT),
    "adaptive_max_pool: output size must": lambda: ops.adaptive_max_pool(IMAGE, [1, -1]),
    "only the batch may be empty": lambda: ops.adaptive_avg_pool(IMAGE[:, :0], [1, 1], *IN, *OUT),
    "appears twice": lambda: ops.mean(IMAGE, [1, -3], False, *IN, *OUT),
    "out of range": lambda: ops.mean(IMAGE, [4], False, *IN, *OUT),
    "zero point must be in 0..255": lambda: ops.mean(IMAGE, [1], False, 1.0, -1, *OUT),
}


@pytest.mark.parametrize("message", list(BAD_CALLS))
def test_errors(message):
    with pytest.raises((RuntimeError, IndexError), match=message):
        BAD_CALLS[message]()
