"""binary (add, sub, mul of uint8) against numpy, bit for bit, and against torch's float ops."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from kernel_reference import dequantize_reference, quantize_reference
from kernel_reference import random_u8 as u8

ops = torch.ops.ipex_quant

A = (0.021, 130)
B = (0.034, 7)
NUMPY_OPS = {"add": np.add, "sub": np.subtract, "mul": np.multiply}


def prepack(op, epilogue, a=A, b=B):
    return ops.binary_prepack(op, *a, *b, epilogue)


def reference(op, a, b):
    """The float32 result before the epilogue."""
    return NUMPY_OPS[op](dequantize_reference(a.numpy(), *A), dequantize_reference(b.numpy(), *B))


SHAPES = {
    "same": ((2, 5, 7), (2, 5, 7)),
    "long": ((3, 1000), (3, 1000)),
    "every_pair": ((256, 1), (1, 256)),
    "squeeze_excite": ((2, 24, 9, 10), (2, 24, 1, 1)),
    "bias": ((4, 6, 33), (33,)),
    "row": ((4, 6, 33), (4, 1, 33)),
    "both": ((4, 1, 33), (1, 6, 1)),
    "scalar": ((4, 6), ()),
    "left_scalar": ((), (4, 70)),
    "empty": ((0, 6), (1, 6)),
}


@pytest.mark.parametrize("op", list(NUMPY_OPS))
@pytest.mark.parametrize("name", list(SHAPES))
def test_shapes(vector_isa, op, name, same_for_all_threads):
    a, b = u8(*SHAPES[name][0], seed=1), u8(*SHAPES[name][1], seed=2)
    expected = reference(op, a, b)
    for left, right in (
        ((a, b), (a.transpose(0, -1).contiguous().transpose(0, -1), b))
        if (a.dim() > 1)
        else ((a, b),)
    ):
        y = same_for_all_threads(lambda x=left, z=right: ops.binary(x, z, prepack(op, ""), []))
        np.testing.assert_array_equal(y, expected)
        q = ops.binary(left, right, prepack(op, "quantize(0.05,100)"), [])
        np.testing.assert_array_equal(q, quantize_reference(expected, 0.05, 100))
        r = ops.binary(left, right, prepack(op, "relu|quantize(0.05,100)"), [])
        np.testing.assert_array_equal(
            r, quantize_reference(np.maximum(expected, np.float32(0)), 0.05, 100)
        )


@pytest.mark.parametrize("op", list(NUMPY_OPS))
def test_channels_last(vector_isa, op):
    a = u8(2, 24, 9, 10).to(memory_format=torch.channels_last)
    for b in (u8(2, 24, 9, 10, seed=1), u8(2, 24, 1, 1), u8(2, 1, 9, 10), u8(24, 1, 1), u8(9, 10)):
        y = ops.binary(a, b, prepack(op, "quantize(0.05,100)"), [])
        assert y.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(y, quantize_reference(reference(op, a, b), 0.05, 100))


@pytest.mark.parametrize("channels", [1, 3, 24, 40, 64, 144, 700, 3000])
@pytest.mark.parametrize("pixels", [(1, 1), (1, 2), (13, 27), (30, 41)])
def test_gate(vector_isa, channels, pixels, same_for_all_threads):
    """One row for all pixels: rows are joined where they are short."""
    x = u8(2, channels, *pixels, seed=1).to(memory_format=torch.channels_last)
    gate = u8(2, channels, 1, 1, seed=2)
    for a, b in ((x, gate), (gate, x)):
        expected = reference("mul", a, b)
        for epilogue, result in (
            ("", expected),
            ("quantize(0.05,100)", quantize_reference(expected, 0.05, 100)),
        ):
            packed = prepack("mul", epilogue)
            y = same_for_all_threads(lambda a=a, b=b, p=packed: ops.binary(a, b, p, []))
            np.testing.assert_array_equal(y, result)


@pytest.mark.parametrize("op", list(NUMPY_OPS))
@pytest.mark.parametrize("scale", [1e-7, 1e-9, 1e-30])
def test_results_too_large_for_an_int(vector_isa, op, scale):
    a, b = u8(3, 100, seed=1), u8(3, 100, seed=2)
    y = ops.binary(a, b, prepack(op, f"quantize({scale},100)"), [])
    np.testing.assert_array_equal(y, quantize_reference(reference(op, a, b), scale, 100))


def test_non_contiguous(vector_isa):
    base = u8(6, 40, 30)
    for a, b in (
        (base[:, ::2, 1:], base[:, 1::2, 1:]),
        (base.transpose(0, 2), base[:1].transpose(0, 2)),
        (base[:1].expand(4, 40, 30), base[1:5]),
        (base[..., ::3], base[0, 0, :10]),
    ):
        y = ops.binary(a, b, prepack("add", ""), [])
        np.testing.assert_array_equal(y, reference("add", a, b))


def test_others(vector_isa):
    a, b = u8(3, 8, 70, seed=1), u8(3, 8, 70, seed=2)
    third, fourth = u8(3, 1, 70, seed=3), torch.randn(8, 1)
    packed = prepack("mul", "add_u8(0.1,3)|mul_f32|add(0.5)|quantize(0.2,90)")
    y = ops.binary(a, b, packed, [third, fourth])
    value = reference("mul", a, b) + dequantize_reference(third.numpy(), 0.1, 3)
    value = value * fourth.numpy() + np.float32(0.5)
    np.testing.assert_array_equal(y, quantize_reference(value, 0.2, 90))


def test_epilogue_is_the_unfused_chain(vector_isa):
    a, b = u8(64, 100, seed=1), u8(64, 100, seed=2)
    y = ops.binary(a, b, prepack("add", ""), [])
    for step, function in {
        "sigmoid": torch.sigmoid,
        "gelu": torch.nn.functional.gelu,
        "hardswish": torch.nn.functional.hardswish,
    }.items():
        z = ops.binary(a, b, prepack("add", step), [])
        torch.testing.assert_close(z, function(y), rtol=1e-6, atol=1e-6)
        q = ops.binary(a, b, prepack("add", f"{step}|quantize(0.03,20)"), [])
        assert torch.equal(q, ops.quantize(z, 0.03, 20))


def test_agrees_with_torch(vector_isa):
    a, b = u8(5, 300, seed=1), u8(5, 300, seed=2)
    for op in NUMPY_OPS:
        y = ops.binary(a, b, prepack(op, ""), [])
        expected = getattr(torch, op)(ops.dequantize(a, *A), ops.dequantize(b, *B))
        assert torch.equal(y, expected)


def test_save_and_load():
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.packed = prepack("sub", "relu|quantize(0.05,100)")

        def forward(self, a, b):
            return torch.ops.ipex_quant.binary(a, b, self.packed, [])

    a, b = u8(5, 30, seed=1), u8(5, 30, seed=2)
    traced = torch.jit.trace(Module(), (a, b))
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    assert torch.equal(torch.jit.load(buffer)(a, b), traced(a, b))


BAD_CALLS = {
    "unknown op 'div'": lambda: prepack("div", ""),
    "scale must be finite and positive": lambda: prepack("add", "", a=(0.0, 3)),
    "zero point must be in 0..255, got 300": lambda: prepack("add", "", b=(1.0, 300)),
    "unknown epilogue step 'foo'": lambda: prepack("add", "foo"),
    "a must be a Byte tensor, got Float": lambda: ops.binary(
        torch.zeros(2), u8(2), prepack("add", ""), []
    ),
    "must match the size": lambda: ops.binary(u8(2), u8(3), prepack("add", ""), []),
    "reads 1 tensors, but others has 0": lambda: ops.binary(
        u8(2), u8(2), prepack("add", "add_f32"), []
    ),
    "a tensor of others must be a Float tensor": lambda: ops.binary(
        u8(2), u8(2), prepack("add", "add_f32"), [u8(2)]
    ),
    "does not broadcast": lambda: ops.binary(u8(2), u8(2), prepack("add", "add_u8(1,0)"), [u8(3)]),
}


@pytest.mark.parametrize("message", list(BAD_CALLS))
def test_errors(message):
    with pytest.raises(RuntimeError, match=message):
        BAD_CALLS[message]()
