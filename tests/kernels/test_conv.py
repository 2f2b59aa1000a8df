"""conv, plain and transposed, against torch's float64 convolution of integers, bit for bit."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guarded import guarded
from ipex_quant import _C
from kernel_reference import available_isas, dequantize_reference, quantize_reference, random_u8

ops = torch.ops.ipex_quant


class Case:
    """One convolution with its tensors; `Case(repr)` of a failure repeats it."""

    def __init__(
        self, x, w, stride, padding, dilation, *, groups=1, output_padding=None, transposed=False
    ):
        nd = len(stride)
        self.x_shape, self.w_shape = x, w
        self.arguments = (stride, padding, dilation, output_padding or [0] * nd, groups, transposed)
        self.out_channels = w[1] * groups if transposed else w[0]

    def __repr__(self):
        return f"x={self.x_shape} w={self.w_shape} arguments={self.arguments}"

    def tensors(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        x = random_u8(*self.x_shape, seed=seed)
        w = torch.randint(-128, 128, self.w_shape, dtype=torch.int8, generator=generator)
        s = torch.rand(self.out_channels, generator=generator) * 0.01 + 1e-4
        b = torch.randn(self.out_channels, generator=generator)
        return x, w, s, b

    def reference(self, x, w, s, b, x_scale, zero_point):
        """The float32 result before the epilogue."""
        stride, padding, dilation, output_padding, groups, transposed = self.arguments
        nd = len(stride)
        values, weight = x.double() - zero_point, w.double()
        if len(padding) == 2 * nd:
            pairs = [p for d in reversed(range(nd)) for p in (padding[d], padding[nd + d])]
            values, padding = torch.nn.functional.pad(values, pairs), [0] * nd
        if transposed:
            function = getattr(torch.nn.functional, f"conv_transpose{nd}d")
            acc = function(values, weight, None, stride, padding, output_padding, groups, dilation)
        else:
            function = getattr(torch.nn.functional, f"conv{nd}d")
            acc = function(values, weight, None, stride, padding, dilation, groups)
        scale = (np.float64(x_scale) * s.numpy().astype(np.float64)).astype(np.float32)
        shape = [1, -1] + [1] * nd
        y = acc.numpy().astype(np.float32).astype(np.float64) * scale.astype(np.float64).reshape(
            shape
        )
        return (y + b.numpy().astype(np.float64).reshape(shape)).astype(np.float32)

    def prepack(self, w, s, b, x_scale, zero_point, epilogue):
        return ops.conv_prepack(w, s, b, *self.arguments, x_scale, zero_point, epilogue)

    def check(self, *, zero_point=3, seed=0, residual=False):
        x, w, s, b = self.tensors(seed)
        y = self.reference(x, w, s, b, 0.02, zero_point)
        others, head = [], ""
        if residual:
            others, head = [random_u8(*y.shape, seed=7)], "add_u8(0.03,100)|"
            y = y + dequantize_reference(others[0].numpy(), 0.03, 100)
        got = ops.conv(
            x, self.prepack(w, s, b, 0.02, zero_point, head + "quantize(0.3,90)"), others
        )
        want = quantize_reference(y, 0.3, 90)
        np.testing.assert_array_equal(got.numpy(), want, err_msg=repr(self))


def square(channels, out, kernel, size, *, stride=1, padding=0, dilation=1, batch=2, **more):
    """A 2-D case with equal sides; `out` and `channels` count all groups."""
    groups = more.get("groups", 1)
    transposed = more.get("transposed", False)
    first, second = (channels, out // groups) if transposed else (out, channels // groups)
    if "output_padding" in more:
        more["output_padding"] = [more["output_padding"]] * 2
    return Case(
        (batch, channels, size, size),
        (first, second, kernel, kernel),
        [stride] * 2,
        [padding] * 2,
        [dilation] * 2,
        **more,
    )


CASES = {
    "pointwise": square(64, 70, 1, 9),
    "pointwise_stride": square(32, 16, 1, 9, stride=2),
    "pointwise_odd_channels": square(13, 7, 1, 6),
    "3x3": square(32, 48, 3, 8, padding=1),
    "3x3_stride": square(16, 64, 3, 9, padding=1, stride=2),
    "3x3_dilated": square(16, 20, 3, 9, padding=2, dilation=2),
    "wide_padding": square(16, 8, 3, 2, padding=4),
    "kernel_as_large_as_image": square(20, 33, 5, 5),
    "first_layer_7x7": square(3, 64, 7, 21, padding=3, stride=2),
    "first_layer_3x3": square(3, 32, 3, 12, padding=1, stride=2),
    "one_channel": square(1, 32, 3, 12, padding=1),
    "two_channels_dilated": square(2, 16, 3, 12, padding=2, dilation=2),
    "patches": square(3, 40, 4, 16, stride=4),
    "eight_channels": square(8, 16, 3, 7, padding=1),
    "groups": square(32, 64, 3, 7, padding=1, groups=4),
    "groups_of_odd_channels": square(15, 9, 3, 7, padding=1, groups=3),
    "signal": Case((2, 20, 37), (24, 20, 5), [2], [2], [1]),
    "signal_few_channels": Case((2, 2, 37), (24, 2, 5), [1], [0], [2]),
    "volume": Case((2, 8, 5, 6, 7), (16, 8, 3, 2, 3), [1, 2, 1], [1, 0, 2], [1, 1, 2]),
    "volume_one_channel": Case((1, 1, 5, 6, 7), (9, 1, 3, 3, 3), [2, 1, 2], [1, 1, 1], [1, 1, 1]),
    "asymmetric": Case((2, 16, 7, 8), (8, 16, 3, 3), [2, 2], [0, 1, 1, 2], [1, 1]),
    "asymmetric_first_layer": Case((2, 3, 9, 8), (8, 3, 3, 3), [2, 2], [0, 0, 1, 1], [1, 1]),
    "transposed": square(16, 24, 3, 6, transposed=True),
    "transposed_stride": square(
        16, 24, 4, 5, stride=2, padding=1, transposed=True, output_padding=1
    ),
    "transposed_kernel_smaller_than_stride": square(8, 6, 2, 4, stride=3, transposed=True),
    "transposed_groups": square(
        12, 9, 3, 5, stride=2, padding=1, dilation=2, groups=3, transposed=True
    ),
    "transposed_odd_channels": square(5, 7, 3, 5, stride=2, transposed=True),
    "transposed_signal": Case((2, 8, 9), (8, 5, 5), [3], [2], [1], transposed=True),
    # pixels side by side: lines that are a whole number of rows, with a rest, and too short for one
    "few_out_channels": square(64, 3, 3, 15, padding=1),
    "few_out_channels_rest": square(16, 3, 5, 19, padding=2),
    "few_out_channels_short": square(16, 3, 3, 4, padding=1),
    "one_out_channel": square(20, 1, 3, 21, padding=1),
    "one_out_channel_stride": square(20, 1, 7, 41, padding=3, stride=2),
    "few_out_channels_dilated": square(16, 2, 3, 21, padding=2, dilation=2),
    "few_out_channels_signal": Case((2, 16, 53), (4, 16, 5), [1], [2], [1]),
    "few_out_channels_volume": Case(
        (1, 16, 3, 4, 13), (2, 16, 2, 3, 3), [1, 1, 1], [0, 1, 1], [1, 1, 1]
    ),
    "transposed_few_channels": square(64, 3, 4, 7, stride=2, padding=1, transposed=True),
    "transposed_few_channels_stride_3": square(
        16, 2, 5, 5, stride=3, padding=1, transposed=True, output_padding=1
    ),
    "transposed_few_channels_doubled": square(16, 4, 2, 7, stride=2, transposed=True),
    "transposed_few_channels_dilated": square(
        16, 1, 3, 9, stride=2, dilation=2, padding=1, transposed=True
    ),
    "transposed_volume": Case(
        (1, 4, 3, 4, 5), (4, 6, 2, 3, 2), [2, 1, 2], [0, 1, 0], [1, 1, 1], transposed=True
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_cases(isa, name):
    for zero_point in (0, 3, 255):
        CASES[name].check(zero_point=zero_point, residual=zero_point == 3)


def random_case(seed: int) -> Case | None:
    """A small case drawn at random; None when the kernel does not fit."""
    r = random.Random(seed)
    nd = r.choice([1, 2, 2, 3])
    transposed = r.random() < 0.4
    groups = r.choice([1, 1, 2, 5])
    cin, cout = groups * r.choice([1, 2, 3, 4, 8, 17]), groups * r.choice([1, 2, 7, 16, 33])
    kernel = [r.choice([1, 2, 3, 5]) for _ in range(nd)]
    stride = [r.choice([1, 1, 2, 3]) for _ in range(nd)]
    dilation = [r.choice([1, 1, 2]) for _ in range(nd)]
    padding = [r.choice([0, 1, 2]) for _ in range(nd)]
    size = [r.choice([1, 4, 7]) for _ in range(nd)]
    extra = [0] * nd
    if transposed:
        extra = [r.randrange(max(s, d)) for s, d in zip(stride, dilation, strict=True)]
        out = [
            (n - 1) * s - 2 * p + d * (k - 1) + e + 1
            for n, s, p, d, k, e in zip(size, stride, padding, dilation, kernel, extra, strict=True)
        ]
    else:
        out = [
            n + 2 * p - d * (k - 1)
            for n, p, d, k in zip(size, padding, dilation, kernel, strict=True)
        ]
    if min(out) <= 0:
        return None
    w = (cin, cout // groups) if transposed else (cout, cin // groups)
    return Case(
        (r.choice([1, 2]), cin, *size),
        (*w, *kernel),
        stride,
        padding,
        dilation,
        groups=groups,
        output_padding=extra,
        transposed=transposed,
    )


@pytest.mark.parametrize("block", range(8))
def test_random_cases(isa, block):
    for seed in range(block * 12, block * 12 + 12):
        case = random_case(seed)
        if case is not None:
            case.check(zero_point=seed % 256, seed=seed, residual=seed % 3 == 0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100000))
def test_all_isas_agree(seed):
    case = random_case(seed)
    if case is None:
        return
    x, w, s, b = case.tensors(seed)
    packed = case.prepack(w, s, b, 0.02, 9, "hardswish|quantize(0.2,20)")
    results = []
    try:
        for isa in available_isas():
            _C.set_isa_cap(isa)
            results.append(ops.conv(x, packed, []).numpy().tobytes())
    finally:
        _C.set_isa_cap("")
    assert len(set(results)) == 1, case


@pytest.mark.parametrize(
    "name",
    ["3x3", "first_layer_7x7", "groups", "transposed_stride", "volume", "few_out_channels_rest"],
)
def test_threads_and_batch(isa, name, same_for_all_threads):
    case = CASES[name]
    x, w, s, b = case.tensors()
    x = torch.cat([x, random_u8(*case.x_shape, seed=3)])
    packed = case.prepack(w, s, b, 0.02, 9, "silu|quantize(0.2,20)")
    whole = same_for_all_threads(lambda: ops.conv(x, packed, []))
    parts = [ops.conv(x[i : i + 1], packed, []) for i in range(x.size(0))]
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize(
    "name",
    ["pointwise", "3x3", "first_layer_3x3", "groups", "signal", "volume", "few_out_channels"],
)
def test_any_input_strides(isa, name):
    case = CASES[name]
    x, w, s, b = case.tensors()
    packed = case.prepack(w, s, b, 0.02, 9, "quantize(0.2,20)")
    expected = ops.conv(x, packed, [])
    inner = [0, *range(2, x.dim()), 1]
    back = [inner.index(d) for d in range(x.dim())]
    channels_last = x.permute(inner).contiguous().permute(back)
    # Slices of a larger tensor: its channels, which a product reads where they are, and its pixels.
    more_channels = torch.cat([x[:, :3], x, x[:, :2]], 1).permute(inner).contiguous()
    more_pixels = torch.cat([x, x[..., :2]], -1).permute(inner).contiguous()
    for view in (
        channels_last,
        more_channels[..., 3:-2].permute(back),
        more_pixels.permute(back)[..., :-2],
        x[:1].expand_as(x),
        x.transpose(0, 1).contiguous().transpose(0, 1),
        x.repeat_interleave(2, -1)[..., ::2],
    ):
        same = view.stride(0) == 0
        wanted = expected[:1].expand_as(expected) if same else expected
        assert torch.equal(ops.conv(view, packed, []), wanted)
    # Channels innermost, whatever came in.
    assert expected.stride(1) == 1
    assert expected.permute(inner).is_contiguous()


@pytest.mark.parametrize("name", ["3x3", "few_out_channels_rest"])
@pytest.mark.parametrize(
    "epilogue", ["", "relu", "add_f32|clamp(0,6)", "prelu", "mul_u8(0.01,3)|silu"]
)
def test_float_output(isa, epilogue, name):
    case = CASES[name]
    x, w, s, b = case.tensors()
    y = case.reference(x, w, s, b, 0.02, 9)
    others = []
    if epilogue.startswith("add_f32"):
        others = [torch.randn(y.shape)]
        y = np.clip(y + others[0].numpy(), np.float32(0), np.float32(6))
    elif epilogue == "prelu":
        others = [torch.randn(1, y.shape[1], 1, 1)]
        y = np.where(y < 0, y * others[0].numpy(), y)
    elif epilogue.startswith("mul_u8"):
        others = [random_u8(y.shape[0], y.shape[1], 1, 1)]
        y = y * dequantize_reference(others[0].numpy(), 0.01, 3)
        y = torch.nn.functional.silu(torch.from_numpy(y).double()).numpy()
    elif epilogue:
        y = np.maximum(y, np.float32(0))
    got = ops.conv(x, case.prepack(w, s, b, 0.02, 9, epilogue), others)
    assert got.dtype == torch.float32
    if "silu" in epilogue:
        np.testing.assert_allclose(got.numpy(), y, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(got.numpy(), y)


@pytest.mark.parametrize("name", list(CASES))
def test_reads_nothing_behind_its_input(isa, name):
    case = CASES[name]
    x, w, s, b = case.tensors()
    packed = case.prepack(w, s, b, 0.02, 9, "quantize(0.2,20)")
    inner = [0, *range(2, x.dim()), 1]
    back = [inner.index(d) for d in range(x.dim())]
    channels_last = guarded(x.permute(inner).contiguous()).permute(back)
    assert torch.equal(ops.conv(channels_last, packed, []), ops.conv(x, packed, []))


def test_empty_batch():
    case = CASES["3x3"]
    _, w, s, b = case.tensors()
    y = ops.conv(
        torch.empty((0, 32, 8, 8), dtype=torch.uint8), case.prepack(w, s, b, 0.1, 0, ""), []
    )
    assert y.shape == (0, 48, 8, 8)
