"""softmax and layer_norm with quantized results: numpy with the same sums, all ISAs, all edges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ipex_quant import _C
from kernel_reference import available_isas, quantize_reference

ops = torch.ops.ipex_quant

LANES = 32
COLUMNS = [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 184, 256, 257, 384, 1000, 4096, 4097, 5003]


def fold(terms: np.ndarray) -> np.ndarray:
    """Sums of rows in the order of kernels/norm/norm.h, in float32."""
    rows, cols = terms.shape
    padded = np.zeros((rows, -(-cols // LANES) * LANES), np.float32)
    padded[:, :cols] = terms
    lanes = np.zeros((rows, LANES), np.float32)
    for block in padded.reshape(rows, -1, LANES).swapaxes(0, 1):
        lanes = lanes + block
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """One rounding: the product of two float32 is exact in float64, and so nearly is the sum."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def layer_norm_reference(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float
) -> np.ndarray:
    count = np.float32(x.shape[1])
    mean = fold(x) / count
    centred = x - mean
    variance = fold(centred * centred) / count
    factor = np.float32(1) / np.sqrt(variance + np.float32(eps))
    return fma(centred * factor, weight, bias)


def rms_norm_reference(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    factor = np.float32(1) / np.sqrt(fold(x * x) / np.float32(x.shape[1]) + np.float32(eps))
    return x * factor * weight


def softmax_float64(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def rows(cols: int, count: int = 5) -> torch.Tensor:
    return 4 * torch.randn(count, cols)


@pytest.mark.parametrize("cols", COLUMNS)
def test_layer_norm_bit_for_bit(vector_isa: str, cols: int, same_for_all_threads: Callable) -> None:
    x, weight, bias = rows(cols), torch.randn(cols), torch.randn(cols)
    wanted = layer_norm_reference(x.numpy(), weight.numpy(), bias.numpy(), 1e-5)
    codes = quantize_reference(wanted, 0.03, 110)
    args = (x, weight, bias, 1e-5, None, 0.03, 110)
    y = same_for_all_threads(lambda: ops.layer_norm(*args)[0])
    q = same_for_all_threads(lambda: ops.layer_norm(*args)[1])
    # numpy's fma above rounds twice in rare cases: one unit in the last place
    np.testing.assert_array_max_ulp(y.numpy(), wanted, 1)
    assert (y.numpy() != wanted).mean() < 1e-3
    np.testing.assert_array_equal(q.numpy(), quantize_reference(y.numpy(), 0.03, 110))
    assert np.abs(q.numpy().astype(int) - codes).max() <= 1
    assert torch.equal(ops.layer_norm_quantize(*args), q)


@pytest.mark.parametrize("cols", COLUMNS)
def test_factor_comes_before_the_quantization(vector_isa: str, cols: int) -> None:
    x, weight, bias, factor = rows(cols), torch.randn(cols), torch.randn(cols), torch.rand(cols)
    y, _ = ops.layer_norm(x, weight, bias, 1e-5, None, 0.03, 110)
    wanted = ops.quantize(y * factor, 0.03, 110)
    again, q = ops.layer_norm(x, weight, bias, 1e-5, factor, 0.03, 110)
    assert torch.equal(again, y)
    assert torch.equal(q, wanted)
    assert torch.equal(ops.layer_norm_quantize(x, weight, bias, 1e-5, factor, 0.03, 110), wanted)


@pytest.mark.parametrize("cols", COLUMNS)
def test_softmax_rounds_the_exact_value(
    vector_isa: str, cols: int, same_for_all_threads: Callable
) -> None:
    x = rows(cols)
    q = same_for_all_threads(lambda: ops.softmax(x, 1 / 255, 0)).numpy()
    error = np.abs(q - 255 * softmax_float64(x.numpy()))
    assert error.max() <= 0.5 + 2e-4


@pytest.mark.parametrize("cols", COLUMNS)
def test_rms_norm_bit_for_bit(vector_isa: str, cols: int, same_for_all_threads: Callable) -> None:
    x, weight = rows(cols) + 1, torch.randn(cols)
    wanted = rms_norm_reference(x.numpy(), weight.numpy(), 1e-5)
    q = same_for_all_threads(lambda: ops.rms_norm_quantize(x, weight, 1e-5, 0.03, 110))
    np.testing.assert_array_equal(q.numpy(), quantize_reference(wanted, 0.03, 110))


def test_rms_norm_is_torchs() -> None:
    x, weight = torch.randn(2, 3, 4, 6).transpose(0, 1), torch.randn(4, 6)
    q = ops.rms_norm_quantize(x, weight, 1e-5, 0.03, 110)
    wanted = torch.nn.functional.rms_norm(x, (4, 6), weight, 1e-5)
    assert q.shape == x.shape
    assert (0.03 * (q.float() - 110) - wanted.clamp(-3.3, 4.35)).abs().max() < 0.016


@pytest.mark.parametrize("op", ["softmax", "layer_norm"])
def test_all_isas_give_the_same_bits(op: str) -> None:
    for cols in COLUMNS:
        x, weight, bias = rows(cols), torch.randn(cols), torch.randn(cols)
        results = []
        for isa in available_isas():
            _C.set_isa_cap(isa)
            if op == "softmax":
                results.append((ops.softmax(x, 0.004, 3),))
            else:
                results.append(ops.layer_norm(x, weight, bias, 1e-12, None, 0.03, 128))
        _C.set_isa_cap("")
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                assert a.numpy().tobytes() == b.numpy().tobytes(), f"{cols} columns"


def test_close_to_torch() -> None:
    x, weight, bias = torch.randn(3, 7, 48), torch.randn(48), torch.randn(48)
    y, q = ops.layer_norm(x, weight, bias, 1e-5, None, 0.03, 128)
    torch.testing.assert_close(y, torch.nn.functional.layer_norm(x, (48,), weight, bias))
    assert torch.equal(q, ops.quantize(y, 0.03, 128))
    wanted = ops.quantize(torch.softmax(x, -1), 1 / 255, 0).int()
    assert (ops.softmax(x, 1 / 255, 0).int() - wanted).abs().max() <= 1


def test_shape_of_several_dimensions() -> None:
    x, weight, bias = torch.randn(4, 5, 6), torch.randn(5, 6), torch.randn(5, 6)
    y, _ = ops.layer_norm(x, weight, bias, 1e-5, None, 0.03, 128)
    torch.testing.assert_close(y, torch.nn.functional.layer_norm(x, (5, 6), weight, bias))


def test_strides_do_not_matter() -> None:
    x = torch.randn(6, 4, 48).transpose(0, 1)
    dense = x.contiguous()
    ones, zeros = torch.ones(48), torch.zeros(48)
    assert torch.equal(ops.softmax(x, 0.004, 0), ops.softmax(dense, 0.004, 0))
    for a, b in zip(
        ops.layer_norm(x, ones, zeros, 0.0, None, 0.03, 128),
        ops.layer_norm(dense, ones, zeros, 0.0, None, 0.03, 128),
        strict=True,
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize("cols", [40, 5000])
def test_rows_without_a_softmax_are_zero(vector_isa: str, cols: int) -> None:
    for bad in (float("nan"), float("inf")):
        for place in (0, 17, cols - 1):
            x = rows(cols, 2)
            x[0, place] = bad
            q = ops.softmax(x, 1 / 255, 0)
            assert not q[0].any()
            assert q[1].any()
    assert not ops.softmax(torch.full((2, cols), -torch.inf), 1 / 255, 0).any()


def test_masked_elements_are_zero(vector_isa: str) -> None:
    for mask in (-10000.0, -torch.inf):
        x = rows(50)
        x[:, 30:] += mask
        q = ops.softmax(x, 1 / 255, 0)
        assert not q[:, 30:].any()
        assert torch.equal(q[:, :30], ops.softmax(x[:, :30].contiguous(), 1 / 255, 0))


def test_large_values_do_not_overflow(vector_isa: str) -> None:
    x = torch.tensor([[3e38, -3e38, 3e38], [-3e38, -3e38, -3e38]])
    assert ops.softmax(x, 1 / 256, 0).tolist() == [[128, 0, 128], [85, 85, 85]]


@pytest.mark.parametrize("shape", [(0, 8), (3, 0)])
def test_empty(shape: tuple[int, int]) -> None:
    x, factors = torch.randn(shape), torch.randn(shape[1])
    assert ops.softmax(x, 0.1, 0).shape == shape
    assert ops.layer_norm_quantize(x, factors, factors, 1e-5, factors, 0.1, 0).shape == shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w: ops.softmax(x.double(), 0.1, 0), "softmax: x must be"),
        (lambda x, w: ops.softmax(torch.tensor(1.0), 0.1, 0), "x must have 1 dimension or more"),
        (lambda x, w: ops.softmax(x, 0.0, 0), "softmax"),
        (lambda x, w: ops.layer_norm(x, w[:4], w, 1e-5, None, 0.1, 0), "x must end in the shape"),
        (lambda x, w: ops.layer_norm(x, w, w[:4], 1e-5, None, 0.1, 0), "bias must have shape"),
        (lambda x, w: ops.layer_norm(x, w, w, 1e-5, w[:4], 0.1, 0), "factor must have shape"),
        (lambda x, w: ops.layer_norm(x, w, w, -1.0, None, 0.1, 0), "eps must be finite"),
        (lambda x, w: ops.layer_norm_quantize(x, w, w, 1e-5, None, 0.1, 256), "layer_norm"),
        (lambda x, w: ops.rms_norm_quantize(x, w[:4], 1e-5, 0.1, 0), "rms_norm: x must end in"),
        (lambda x, w: ops.rms_norm_quantize(x, w, -1.0, 0.1, 0), "rms_norm: eps must be finite"),
        (lambda x, w: ops.rms_norm_quantize(x, w, 1e-5, 0.1, 256), "rms_norm"),
    ],
)
def test_wrong_arguments(call: Callable, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        call(torch.randn(2, 8), torch.randn(8))
