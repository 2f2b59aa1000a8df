"""matmul of two uint8 tensors against exact integers in numpy, bit for bit."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from kernel_reference import dequantize_reference, quantize_reference
from kernel_reference import random_u8 as u8

ops = torch.ops.ipex_quant

QPARAMS = [((0.02, 131), (0.015, 128)), ((0.02, 0), (0.015, 117)), ((0.003, 255), (0.015, 0))]
A, B = QPARAMS[1]


def reference(a, b, qa, qb):
    """scale * exact sums, in float32."""
    exact = np.matmul(a.numpy().astype(np.int64) - qa[1], b.numpy().astype(np.int64) - qb[1])
    return exact.astype(np.float32) * np.float32(qa[0] * qb[0])


def run(a, b, epilogue="", others=(), qa=A, qb=B):
    return ops.matmul(a, b, ops.matmul_prepack(*qa, *qb, epilogue), list(others))


@pytest.mark.parametrize(("qa", "qb"), QPARAMS)
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [
        (1, 1, 1),
        (1, 70, 64),
        (2, 15, 3),
        (5, 16, 4),
        (6, 17, 5),
        (7, 31, 31),
        (13, 64, 32),
        (12, 65, 63),
        (25, 63, 64),
        (8, 130, 65),
        (3, 256, 16),
        (4, 257, 20),
        (30, 300, 100),
    ],
)
def test_sizes(isa, m, n, k, qa, qb):
    a, b = u8(2, m, k, seed=1), u8(2, k, n, seed=2)
    expected = reference(a, b, qa, qb)
    np.testing.assert_array_equal(run(a, b, qa=qa, qb=qb), expected)
    transposed = b.transpose(1, 2).contiguous().transpose(1, 2)
    np.testing.assert_array_equal(run(a, transposed, qa=qa, qb=qb), expected)
    q = run(a, transposed, "mul(0.125)|quantize(0.01,90)", qa=qa, qb=qb)
    np.testing.assert_array_equal(q, quantize_reference(expected * np.float32(0.125), 0.01, 90))


def test_extremes(isa):
    """Every product at its largest, where saturating instructions would fail."""
    for left, right in ((255, 255), (255, 0), (0, 255), (0, 0)):
        a = torch.full((7, 333), left, dtype=torch.uint8)
        b = torch.full((333, 70), right, dtype=torch.uint8)
        for qa in ((0.1, 0), (0.1, 255)):
            for qb in ((0.1, 0), (0.1, 128), (0.1, 255)):
                expected = reference(a, b, qa, qb)
                np.testing.assert_array_equal(run(a, b, qa=qa, qb=qb), expected)
                np.testing.assert_array_equal(run(a, b.T.contiguous().T, qa=qa, qb=qb), expected)


BATCHES = [
    ((3, 4, 5, 8), (3, 4, 8, 6)),
    ((3, 1, 5, 8), (4, 8, 6)),
    ((5, 8), (3, 4, 8, 6)),
    ((3, 4, 5, 8), (8, 6)),
    ((8,), (3, 8, 6)),
    ((3, 5, 8), (8,)),
    ((8,), (8,)),
    ((5, 8), (8, 6)),
    ((0, 5, 8), (8, 6)),
    ((3, 0, 8), (8, 6)),
    ((3, 5, 0), (0, 6)),
]


@pytest.mark.parametrize(("a_shape", "b_shape"), BATCHES)
def test_broadcasting(isa, a_shape, b_shape):
    a, b = u8(*a_shape, seed=1), u8(*b_shape, seed=2)
    expected = reference(a, b, A, B)
    got = run(a, b)
    assert got.shape == torch.matmul(a.float(), b.float()).shape
    np.testing.assert_array_equal(got, expected)
    other = torch.randn(got.shape[-1:])
    np.testing.assert_array_equal(run(a, b, "add_f32", [other]), expected + other.numpy())


def test_attention_views(isa, same_for_all_threads):
    """q, k and v as heads of one [batch, time, 3 * heads * d] projection: no copies needed."""
    for tokens, d in ((37, 32), (50, 64), (197, 24)):
        qkv = u8(2, tokens, 3, 3, d, seed=d).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        mask = torch.where(torch.rand(2, 1, 1, tokens) < 0.2, -1e4, 0.0)
        scores = same_for_all_threads(
            lambda q=q, k=k, m=mask: run(q, k.transpose(-2, -1), "mul(0.25)|add_f32", [m])
        )
        expected = reference(q, k.transpose(-2, -1), A, B) * np.float32(0.25) + mask.numpy()
        np.testing.assert_array_equal(scores, expected)

        weights = ops.quantize(scores.softmax(-1), 1 / 255, 0)
        context = same_for_all_threads(
            lambda w=weights, v=v: run(w, v, "quantize(0.002,128)", qa=(1 / 255, 0))
        )
        expected = reference(weights, v, (1 / 255, 0), B)
        np.testing.assert_array_equal(context, quantize_reference(expected, 0.002, 128))


def test_strides(isa):
    base = u8(4, 40, 60)
    for a, b in (
        (base[:, ::2, ::3], base[:, :20, 5:]),
        (base.transpose(1, 2), base[:, :, ::2]),
        (base[:1].expand(4, 40, 60), base.transpose(1, 2)),
        (base[:, :1].expand(4, 7, 60)[..., :3], base[:, :3]),
        (base[..., :1].expand(4, 40, 5), base[:, :5, :1].expand(4, 5, 6)),
    ):
        np.testing.assert_array_equal(run(a, b), reference(a, b, A, B))


def test_epilogue_tensors(isa):
    a, b = u8(2, 3, 9, 20, seed=1), u8(2, 3, 20, 70, seed=2)
    expected = reference(a, b, A, B)
    row = torch.randn(9, 1)
    full = u8(2, 3, 70, 9, seed=3).transpose(-1, -2)
    got = run(a, b, "mul_f32|add_u8(0.5,30)|relu|quantize(0.3,40)", [row, full])
    value = expected * row.numpy() + dequantize_reference(full.numpy(), 0.5, 30)
    np.testing.assert_array_equal(
        got, quantize_reference(np.maximum(value, np.float32(0)), 0.3, 40)
    )


def test_threads(isa, same_for_all_threads):
    a, b = u8(1, 301, 64, seed=1), u8(1, 64, 333, seed=2)
    np.testing.assert_array_equal(same_for_all_threads(lambda: run(a, b)), reference(a, b, A, B))
    shared = u8(64, 90, seed=3)
    many = u8(5, 47, 64, seed=4)
    got = same_for_all_threads(lambda: run(many, shared))
    np.testing.assert_array_equal(got, reference(many, shared, A, B))


def test_close_to_torch_float(isa):
    a, b = u8(2, 30, 64, seed=1), u8(2, 64, 40, seed=2)
    expected = ops.dequantize(a, *A) @ ops.dequantize(b, *B)
    torch.testing.assert_close(run(a, b), expected, rtol=1e-5, atol=1e-3)


def test_save_and_load():
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.packed = ops.matmul_prepack(*A, *B, "mul(0.5)|quantize(0.1,3)")

        def forward(self, a, b):
            return torch.ops.ipex_quant.matmul(a, b, self.packed, [])

    a, b = u8(5, 30, seed=1), u8(30, 7, seed=2)
    traced = torch.jit.trace(Module(), (a, b))
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    assert torch.equal(torch.jit.load(buffer)(a, b), traced(a, b))


BAD_CALLS = {
    "a must be a Byte tensor": lambda: run(torch.zeros(2, 2), u8(2, 2)),
    "b must be a Byte tensor": lambda: run(u8(2, 2), torch.zeros(2, 2)),
    "at least one dimension": lambda: run(u8(), u8(2, 2)),
    "3 is not 4": lambda: run(u8(2, 3), u8(4, 2)),
    "must match the size": lambda: run(u8(2, 3, 4), u8(3, 4, 2)),
    "larger than 33025": lambda: run(u8(1, 33026), u8(33026, 1)),
    "zero point must be in 0..255": lambda: run(u8(2, 2), u8(2, 2), qa=(1.0, 256)),
    "scale must be finite": lambda: run(u8(2, 2), u8(2, 2), qb=(float("inf"), 0)),
    "reads 1 tensors, but others has 0": lambda: run(u8(2, 2), u8(2, 2), "add_f32"),
    "does not broadcast": lambda: run(u8(2, 2), u8(2, 2), "add_f32", [torch.zeros(3)]),
}


@pytest.mark.parametrize("message", list(BAD_CALLS))
def test_errors(message):
    with pytest.raises(RuntimeError, match=message):
        BAD_CALLS[message]()
