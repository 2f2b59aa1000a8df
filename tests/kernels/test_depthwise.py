"""Depthwise convolutions: the cases of their own kernel, with the checks of test_conv."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from guarded import guarded
from kernel_reference import quantize_reference, random_u8
from test_conv import Case, square

ops = torch.ops.ipex_quant


def depthwise(channels, kernel, size, *, times=1, **more):
    return square(channels, channels * times, kernel, size, groups=channels, **more)


CASES = {
    "3x3": depthwise(64, 3, 9, padding=1),
    "3x3_stride": depthwise(32, 3, 9, padding=1, stride=2),
    "5x5": depthwise(70, 5, 8, padding=2),
    "5x5_stride": depthwise(130, 5, 9, padding=2, stride=2),
    "7x7": depthwise(17, 7, 7, padding=3),
    "7x7_stride": depthwise(70, 7, 13, padding=3, stride=2),
    "9x9": depthwise(20, 9, 11, padding=4),
    "stride_of_rows": Case((2, 80, 9, 8), (80, 1, 3, 3), [2, 1], [1, 1], [1, 1], groups=80),
    "stride_of_columns": Case((2, 80, 8, 9), (80, 1, 3, 3), [1, 2], [1, 1], [1, 1], groups=80),
    "stride_of_three": depthwise(40, 3, 11, stride=3),
    "dilated_rows": Case((2, 70, 9, 9), (70, 1, 3, 3), [1, 1], [2, 1], [2, 1], groups=70),
    "2x2": depthwise(3, 2, 5),
    "1x1": depthwise(40, 1, 5),
    "dilated": depthwise(20, 3, 11, padding=3, dilation=3),
    "border_only": depthwise(20, 3, 1, padding=3),
    "wide_line": Case((1, 16, 3, 300), (16, 1, 3, 3), [1, 1], [1, 1], [1, 1], groups=16),
    "wide_dilation": Case((1, 9, 2, 250), (9, 1, 1, 3), [1, 1], [0, 80], [1, 100], groups=9),
    "asymmetric": Case((2, 24, 8, 9), (24, 1, 3, 3), [2, 2], [0, 0, 1, 1], [1, 1], groups=24),
    "multiplier_2": depthwise(33, 3, 7, times=2, padding=1),
    "multiplier_3": depthwise(12, 3, 7, times=3, padding=1),
    "multiplier_4": depthwise(20, 3, 7, times=4, padding=1),
    "signal": Case((2, 33, 40), (33, 1, 9), [1], [4], [1], groups=33),
    "signal_stride": Case((2, 80, 40), (80, 1, 5), [3], [1], [2], groups=80),
    "row_kernel": Case((2, 16, 4, 20), (16, 1, 1, 5), [2, 1], [1, 2], [1, 1], groups=16),
    "volume": Case((2, 20, 4, 5, 6), (20, 1, 3, 3, 2), [1, 2, 1], [1, 0, 1], [1, 1, 2], groups=20),
    "volume_row_kernel": Case(
        (2, 8, 3, 4, 9), (8, 1, 1, 1, 3), [1, 1, 2], [0, 1, 1], [1, 1, 1], groups=8
    ),
    "transposed": depthwise(16, 3, 5, stride=2, padding=1, transposed=True),
}


@pytest.mark.parametrize("name", list(CASES))
def test_cases(isa, name):
    for zero_point in (0, 3, 255):
        CASES[name].check(zero_point=zero_point, residual=zero_point == 3)


@pytest.mark.parametrize("channels", [2, 15, 16, 31, 33, 48, 63, 65, 100, 128])
def test_channel_edges(isa, channels):
    depthwise(channels, 3, 6, padding=1).check()
    depthwise(channels, 3, 7, padding=1, stride=2).check()
    depthwise(channels, 5, 6, padding=2).check()


@pytest.mark.parametrize("channels", [16, 64, 100])
@pytest.mark.parametrize("size", range(1, 15))
def test_pixel_edges(isa, size, channels):
    for kernel in (3, 5):
        depthwise(channels, kernel, size, padding=kernel // 2).check()
        depthwise(channels, kernel, size, padding=kernel // 2, stride=2).check()


@pytest.mark.parametrize("zero_point", [0, 255])
@pytest.mark.parametrize("x_value", [0, 255])
@pytest.mark.parametrize("w_value", [-128, 127])
def test_extreme_values(isa, zero_point, x_value, w_value):
    case = depthwise(40, 5, 6, padding=2)
    _, w, s, b = case.tensors()
    x = torch.full(case.x_shape, x_value, dtype=torch.uint8)
    w.fill_(w_value)
    got = ops.conv(x, case.prepack(w, s, b, 0.02, zero_point, ""), [])
    np.testing.assert_array_equal(got.numpy(), case.reference(x, w, s, b, 0.02, zero_point))


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1)])
def test_results_too_large_for_int32(isa, kernel, stride):
    """One channel is out of range: it ends at a bound, and its neighbours are what they were."""
    case = depthwise(80, kernel, 8, padding=kernel // 2, stride=stride)
    x, w, s, b = case.tensors()
    s[37] = 1e12
    y = case.reference(x, w, s, b, 0.02, 9)
    assert (np.abs(y[:, 37]) > 2.0**31).all()
    got = ops.conv(x, case.prepack(w, s, b, 0.02, 9, "quantize(0.3,90)"), [])
    np.testing.assert_array_equal(got.numpy(), quantize_reference(y, 0.3, 90))


@pytest.mark.parametrize("name", list(CASES))
def test_threads_and_float_output(isa, name, same_for_all_threads):
    case = CASES[name]
    x, w, s, b = case.tensors()
    packed = case.prepack(w, s, b, 0.02, 9, "")
    y = same_for_all_threads(lambda: ops.conv(x, packed, []))
    np.testing.assert_array_equal(y.numpy(), case.reference(x, w, s, b, 0.02, 9))


@pytest.mark.parametrize("name", list(CASES))
def test_reads_nothing_behind_its_input(isa, name):
    case = CASES[name]
    x, w, s, b = case.tensors()
    packed = case.prepack(w, s, b, 0.02, 9, "quantize(0.2,20)")
    inner = [0, *range(2, x.dim()), 1]
    back = [inner.index(d) for d in range(x.dim())]
    channels_last = guarded(x.permute(inner).contiguous()).permute(back)
    assert torch.equal(ops.conv(channels_last, packed, []), ops.conv(x, packed, []))


def test_batch_of_one_image_is_the_same(isa):
    case = CASES["3x3"]
    _, w, s, b = case.tensors()
    packed = case.prepack(w, s, b, 0.02, 9, "silu|quantize(0.2,20)")
    x = random_u8(5, 64, 9, 9)
    whole = ops.conv(x, packed, [])
    assert torch.equal(whole, torch.cat([ops.conv(x[i : i + 1], packed, []) for i in range(5)]))
