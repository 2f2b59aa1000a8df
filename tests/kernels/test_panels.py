"""Products of so many rows that they go to AMX: 16 in a panel, in place and copied, with tails."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from guarded import guarded
from kernel_reference import random_u8

ops = torch.ops.ipex_quant

ROWS = [8, 15, 16, 17, 32, 33, 47, 65]
COLUMNS = [1, 17, 48, 64, 80]
# Of one row: less than a chunk, whole chunks (read in place), and what the last chunk leaves empty.
DEPTHS = [1, 60, 63, 64, 65, 68, 128, 196]


def extreme_s8(*shape: int, seed: int) -> torch.Tensor:
    """-128 and 127 in any order."""
    return torch.where(random_u8(*shape, seed=seed) > 127, 127, -128).to(torch.int8)


def operands(m: int, n: int, k: int, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and weights."""
    if kind == "largest sums":
        x, w = torch.full((m, k), 255, dtype=torch.uint8), torch.full((n, k), -128).to(torch.int8)
    elif kind == "extreme values":
        x = (random_u8(m, k, seed=k) > 127).to(torch.uint8) * 255
        w = extreme_s8(n, k, seed=n)
    else:
        x, w = random_u8(m, k, seed=k), random_u8(n, k, seed=n).view(torch.int8)
    return x, w


def exact(x: torch.Tensor, w: torch.Tensor, zero_point: int) -> np.ndarray:
    """Sums over k, which a float holds exactly."""
    return (x.numpy().astype(np.int64) - zero_point) @ w.numpy().astype(np.int64).T


@pytest.mark.parametrize("kind", ["random", "extreme values", "largest sums"])
@pytest.mark.parametrize("k", DEPTHS)
def test_linear(isa, k, kind):
    n = COLUMNS[-1]
    x, w = operands(max(ROWS), n, k, kind)
    for columns in COLUMNS:
        packed = ops.linear_prepack(w[:columns], torch.ones(1), None, 1.0, 7, "")
        for m in ROWS:
            rows = guarded(x[:m].clone())
            expected = exact(rows, w[:columns], 7)
            np.testing.assert_array_equal(
                ops.linear(rows, packed, []).numpy(), expected, err_msg=f"{m}x{columns}x{k}"
            )


@pytest.mark.parametrize("channels", [1, 4, 63, 64, 68, 128])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("size", [3, 4, 7])
def test_taps_of_a_convolution_stand_one_behind_the_other(isa, channels, groups, size):
    x = random_u8(1, groups * channels, size, size + 1, seed=channels)
    x = guarded(((x > 127).to(torch.uint8) * 255).contiguous(memory_format=torch.channels_last))
    w = extreme_s8(groups * 17, channels, 3, 2, seed=size)
    numbers = ([1, 1], [1, 0], [1, 1])
    expected = torch.nn.functional.conv2d(x.double() - 9, w.double(), None, *numbers, groups)
    packed = ops.conv_prepack(w, torch.ones(1), None, *numbers, [0, 0], groups, False, 1.0, 9, "")
    assert torch.equal(ops.conv(x, packed, []).double(), expected)


@pytest.mark.parametrize("k", DEPTHS)
@pytest.mark.parametrize("apart", [0, 5])
def test_matmul_of_rows_that_stand_apart(isa, k, apart):
    """The last row ends with its tensor, so that it is copied; the others are read in place."""
    b = random_u8(k, 33, seed=k + 1)
    packed = ops.matmul_prepack(1.0, 3, 1.0, 130, "")
    for m in ROWS:
        wide = guarded(random_u8(m * (k + apart) - apart, seed=m))
        a = wide.as_strided((1, m, k), (0, k + apart, 1), wide.storage_offset())
        expected = (a[0].double() - 3) @ (b.double() - 130)
        assert torch.equal(ops.matmul(a, b[None], packed, [])[0].double(), expected), m
