"""quantize, dequantize, requantize, lut and the weight forms against numpy, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kernel_reference import dequantize_reference, quantize_reference

ops = torch.ops.ipex_quant

QPARAMS = [(0.1, 0), (0.037, 128), (3.0, 255), (1e-30, 7), (2.5e4, 100)]
SIZES = [1, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 1000]


def values(n: int, scale: float) -> torch.Tensor:
    """Ordinary values, exact halves, both zeros, infinities, NaN, denormals and huge numbers."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, generator=generator) * 100 * scale
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 3.4e38, -3.4e38]
    special += [scale * k / 2 for k in (-301, -3, -1, 1, 3, 5, 301)]
    places = torch.randperm(n, generator=generator)[: len(special)]
    for place, value in zip(places.tolist(), special, strict=False):
        x[place] = value
    return x


@pytest.mark.parametrize(("scale", "zero_point"), QPARAMS)
def test_quantize(vector_isa, scale, zero_point):
    for n in SIZES:
        x = values(n, scale)
        got = ops.quantize(x, scale, zero_point)
        np.testing.assert_array_equal(got, quantize_reference(x.numpy(), scale, zero_point), f"{n}")


def test_quantize_agrees_with_torch(vector_isa):
    x = torch.randn(4096) * 5
    got = ops.dequantize(ops.quantize(x, 0.05, 100), 0.05, 100)
    assert torch.equal(got, torch.fake_quantize_per_tensor_affine(x, 0.05, 100, 0, 255))


@pytest.mark.parametrize(("scale", "zero_point"), QPARAMS)
def test_dequantize(vector_isa, scale, zero_point):
    for n in SIZES:
        q = torch.randint(0, 256, (n,), dtype=torch.uint8)
        got = ops.dequantize(q, scale, zero_point)
        np.testing.assert_array_equal(got, dequantize_reference(q.numpy(), scale, zero_point))


def layouts(base: torch.Tensor) -> dict[str, torch.Tensor]:
    """Views of one [2, 6, 5, 8] tensor with other strides, dense or not."""
    return {
        "contiguous": base,
        "channels_last": base.to(memory_format=torch.channels_last),
        "transposed": base.transpose(1, 3),
        "sliced": base[:, 1:5, :, ::2],
        "rows": base[..., 1:7],
        "expanded": base[:1].expand(3, 6, 5, 8),
        "scalar": base[0, 0, 0, 0],
        "empty": base[:0],
    }


@pytest.mark.parametrize("name", list(layouts(torch.zeros(2, 6, 5, 8))))
def test_any_strides(isa, name):
    x = layouts(torch.randn(2, 6, 5, 8))[name]
    q = ops.quantize(x, 0.02, 120)
    assert q.stride() == torch.empty_like(x).stride()
    np.testing.assert_array_equal(q, quantize_reference(x.numpy(), 0.02, 120))

    u = layouts(torch.randint(0, 256, (2, 6, 5, 8), dtype=torch.uint8))[name]
    y = ops.dequantize(u, 0.02, 120)
    assert y.stride() == torch.empty_like(u).stride()
    np.testing.assert_array_equal(y, dequantize_reference(u.numpy(), 0.02, 120))
    r = ops.requantize(u, 0.02, 120, 0.03, 7)
    assert torch.equal(r, ops.quantize(y, 0.03, 7))


@pytest.mark.parametrize("shape", [(2, 7, 9), (2, 3, 13, 11), (1, 3, 16, 16), (1, 2, 3, 5, 7)])
def test_quantize_channels_last_shapes(vector_isa, shape):
    x = torch.randn(shape)
    q = ops.quantize_channels_last(x, 0.02, 120)
    assert q.shape == x.shape
    assert q.movedim(1, -1).is_contiguous()
    np.testing.assert_array_equal(q, quantize_reference(x.numpy(), 0.02, 120))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8, 15, 16, 17, 31, 32, 33, 64, 70])
def test_quantize_channels_last_channels(vector_isa, channels, same_for_all_threads):
    for pixels in (1, 5, 63, 64, 65, 200):
        x = torch.randn(3, channels, pixels)
        q = same_for_all_threads(lambda x=x: ops.quantize_channels_last(x, 0.02, 120))
        np.testing.assert_array_equal(q, quantize_reference(x.numpy(), 0.02, 120), f"{pixels}")


def test_quantize_channels_last_layouts(vector_isa):
    base = torch.randn(2, 6, 5, 8)
    for name, x in layouts(base).items():
        if x.dim() != 4:
            continue
        q = ops.quantize_channels_last(x, 0.02, 120)
        assert q.movedim(1, -1).is_contiguous(), name
        np.testing.assert_array_equal(q, quantize_reference(x.numpy(), 0.02, 120), name)


def test_requantize_every_value(isa):
    q = torch.arange(256, dtype=torch.uint8).repeat(3)
    for scale, zero_point in QPARAMS:
        for out_scale, out_zero_point in QPARAMS:
            got = ops.requantize(q, scale, zero_point, out_scale, out_zero_point)
            value = dequantize_reference(q.numpy(), scale, zero_point)
            np.testing.assert_array_equal(got, quantize_reference(value, out_scale, out_zero_point))


def test_lut(isa):
    table = torch.randint(0, 256, (256,), dtype=torch.uint8)
    for n in SIZES:
        q = torch.randint(0, 256, (n,), dtype=torch.uint8)
        assert torch.equal(ops.lut(q, table), table[q.long()])
    assert torch.equal(ops.lut(q, table.flip(0)[::1]), table.flip(0)[q.long()])


def test_threads(isa, same_for_all_threads):
    x = torch.randn(200_001)
    q = same_for_all_threads(lambda: ops.quantize(x, 0.03, 128))
    same_for_all_threads(lambda: ops.dequantize(q, 0.03, 128))
    same_for_all_threads(lambda: ops.requantize(q, 0.03, 128, 0.05, 3))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_weights(axis):
    w = torch.randn(4, 5, 6)
    scales = torch.rand(w.size(axis)) * 0.02 + 0.005
    shape = [1, 1, 1]
    shape[axis] = -1
    q = ops.quantize_weight(w, scales, axis)
    expected = torch.clamp(w * (1.0 / scales).reshape(shape), -127, 127).round().to(torch.int8)
    assert torch.equal(q, expected)
    assert torch.equal(ops.dequantize_weight(q, scales, axis), q.float() * scales.reshape(shape))
    one = torch.tensor([0.03])
    assert torch.equal(
        ops.quantize_weight(w.transpose(0, 2), one, 0),
        torch.clamp(w.transpose(0, 2) * (1.0 / one), -127, 127).round().to(torch.int8),
    )


BAD_CALLS = {
    "x must be a Float tensor, got Byte": lambda: ops.quantize(
        torch.zeros(2, dtype=torch.uint8), 1.0, 0
    ),
    "q must be a Byte tensor, got Float": lambda: ops.dequantize(torch.zeros(2), 1.0, 0),
    "scale must be finite and positive in float32, got 0": lambda: ops.quantize(
        torch.zeros(2), 0.0, 0
    ),
    "scale must be finite and positive in float32, got nan": lambda: ops.quantize(
        torch.zeros(2), float("nan"), 0
    ),
    "zero point must be in 0..255, got 256": lambda: ops.quantize(torch.zeros(2), 1.0, 256),
    "x must have 3 to 5 dimensions": lambda: ops.quantize_channels_last(torch.zeros(2, 3), 1.0, 0),
    "requantize \\(output\\): zero point": lambda: ops.requantize(
        torch.zeros(2, dtype=torch.uint8), 1.0, 0, 1.0, -1
    ),
    "table must have shape \\[256\\]": lambda: ops.lut(
        torch.zeros(2, dtype=torch.uint8), torch.zeros(255, dtype=torch.uint8)
    ),
    "scales must have 1 or 4 elements": lambda: ops.quantize_weight(
        torch.zeros(4, 3), torch.ones(3), 0
    ),
    "axis 2 is not an axis": lambda: ops.quantize_weight(torch.zeros(4, 3), torch.ones(3), 2),
    "element 1 of the weight is nan": lambda: ops.quantize_weight(
        torch.tensor([0.0, float("nan")]), torch.ones(1), 0
    ),
    "scale 1 must be finite and positive, got -1": lambda: ops.dequantize_weight(
        torch.zeros(2, dtype=torch.int8), torch.tensor([1.0, -1.0]), 0
    ),
}


@pytest.mark.parametrize("message", list(BAD_CALLS))
def test_errors(message):
    with pytest.raises(RuntimeError, match=message):
        BAD_CALLS[message]()
