"""group_norm with its epilogue: numpy with the same sums, all ISAs and layouts, all errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kernel_reference import quantize_reference

ops = torch.ops.ipex_quant

PIXELS_PER_SUM = 128


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """One rounding: the product of two float32 is exact in float64, and so nearly is the sum."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def average(terms: np.ndarray, groups: int, squares: bool) -> np.ndarray:
    """Averages of the groups of one item [pixels, channels], in the order of group_norm.h."""
    pixels, channels = terms.shape
    sums = []
    for first in range(0, pixels, PIXELS_PER_SUM):
        total = np.zeros(channels, np.float32)
        for row in terms[first : first + PIXELS_PER_SUM]:
            total = fma(row, row, total) if squares else total + row
        sums.append(total)
    by_group = np.array(sums).reshape(len(sums), groups, -1).swapaxes(0, 1).reshape(groups, -1)
    total = np.cumsum(by_group.astype(np.float64), axis=1)[:, -1]
    return np.repeat(total / (pixels * (channels // groups)), channels // groups)


def reference(
    x: np.ndarray, groups: int, weight: np.ndarray, bias: np.ndarray, eps: float
) -> np.ndarray:
    """group_norm of [N, C, pixels]."""
    results = []
    for item in x.swapaxes(1, 2):
        mean = average(item, groups, squares=False).astype(np.float32)
        variance = average(item - mean, groups, squares=True).astype(np.float32)
        factor = np.float32(1) / np.sqrt(variance + np.float32(eps))
        results.append(fma((item - mean) * factor, weight, bias))
    return np.array(results).swapaxes(1, 2)


CASES = [
    *((1, 1, 1, 1), (2, 3, 5, 3), (1, 16, 127, 4), (2, 17, 128, 1), (1, 32, 129, 32)),
    *((2, 64, 300, 32), (1, 70, 33, 7), (1, 257, 20, 257), (1, 512, 260, 32), (3, 24, 9, 2)),
]


@pytest.mark.parametrize(("items", "channels", "pixels", "groups"), CASES)
def test_bit_for_bit(
    vector_isa: str,
    items: int,
    channels: int,
    pixels: int,
    groups: int,
    same_for_all_threads: Callable,
) -> None:
    x = 3 * torch.randn(items, channels, pixels) + 2
    weight, bias = torch.randn(channels), torch.randn(channels)
    wanted = reference(x.numpy(), groups, weight.numpy(), bias.numpy(), 1e-5)
    args = (x, groups, weight, bias, 1e-5)
    y = same_for_all_threads(lambda: ops.group_norm(*args, ""))
    np.testing.assert_array_equal(y, wanted)
    q = same_for_all_threads(lambda: ops.group_norm(*args, "relu|quantize(0.03,110)"))
    np.testing.assert_array_equal(
        q, quantize_reference(np.maximum(wanted, np.float32(0)), 0.03, 110)
    )
    silu = ops.group_norm(*args, "silu")
    np.testing.assert_array_equal(
        ops.group_norm(*args, "silu|quantize(0.03,110)"),
        quantize_reference(silu.numpy(), 0.03, 110),
    )


@pytest.mark.parametrize("shape", [(2, 12), (2, 12, 7), (2, 12, 5, 6), (2, 12, 3, 4, 5)])
def test_agrees_with_torch(shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape) * 5 + 30
    for groups, weight, bias in ((3, torch.randn(12), torch.randn(12)), (4, None, None)):
        wanted = F.group_norm(
            x.double(),
            groups,
            None if weight is None else weight.double(),
            None if bias is None else bias.double(),
            1e-5,
        )
        y = ops.group_norm(x, groups, weight, bias, 1e-5, "")
        assert y.shape == x.shape
        torch.testing.assert_close(y.double(), wanted, rtol=1e-4, atol=1e-4)
    if len(shape) > 2:
        y = ops.group_norm(x, -1, None, None, 1e-5, "")
        torch.testing.assert_close(y, F.instance_norm(x), rtol=1e-4, atol=1e-4)


def test_more_dimensions_than_a_layout_has() -> None:
    x = torch.randn(2, 6, 2, 3, 2, 2)
    torch.testing.assert_close(
        ops.group_norm(x, 2, None, None, 1e-5, ""), F.group_norm(x, 2), rtol=1e-4, atol=1e-5
    )


def test_layouts() -> None:
    x = torch.randn(2, 12, 5, 6)
    y = ops.group_norm(x, 3, None, None, 1e-5, "quantize(0.02,128)")
    assert y.is_contiguous(memory_format=torch.channels_last)
    for other in (x.contiguous(memory_format=torch.channels_last), x.mT.contiguous().mT):
        assert torch.equal(ops.group_norm(other, 3, None, None, 1e-5, "quantize(0.02,128)"), y)


def test_special_values(vector_isa: str) -> None:
    """A NaN or an infinity makes its own group NaN, which quantizes to 0."""
    x = torch.randn(3, 8, 40)
    x[0, 1, 3], x[1, 5, 0] = torch.nan, torch.inf
    y = ops.group_norm(x, 4, None, None, 1e-5, "")
    nan = torch.isnan(y).flatten(2).all(2)
    assert nan.nonzero().tolist() == [[0, 0], [0, 1], [1, 4], [1, 5]]
    assert not torch.isnan(y[~nan]).any()
    q = ops.group_norm(x, 4, None, None, 1e-5, "quantize(0.02,128)")
    assert not q[nan].any() and q[~nan].any()
    constant = ops.group_norm(torch.full((1, 4, 9), 7.0), 2, None, None, 1e-5, "")
    assert not constant.any()


def test_empty() -> None:
    assert ops.group_norm(torch.empty(0, 8, 3), 2, None, None, 1e-5, "").shape == (0, 8, 3)
    assert ops.group_norm(torch.empty(2, 8, 0), 2, None, None, 1e-5, "").shape == (2, 8, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.randn(6)}, "2 dimensions or more"),
        ({"x": torch.zeros(2, 6, 4, dtype=torch.uint8)}, "x"),
        ({"groups": 4}, "groups must divide the 6 channels"),
        ({"groups": 0}, "groups must divide the 6 channels"),
        ({"weight": torch.randn(5)}, r"weight must have shape \[6\]"),
        ({"bias": torch.zeros(6, dtype=torch.int32)}, "bias"),
        ({"eps": -1.0}, "eps must be finite"),
        ({"epilogue": "add_f32"}, "reads tensors"),
        ({"epilogue": "no_step"}, "unknown epilogue step"),
    ],
)
def test_errors(change: dict, message: str) -> None:
    good = {"x": torch.randn(2, 6, 4), "groups": 3, "weight": None, "bias": None}
    good |= {"eps": 1e-5, "epilogue": ""}
    ops.group_norm(*good.values())
    with pytest.raises(RuntimeError, match=message):
        ops.group_norm(*(good | change).values())
