"""The functions of kernels/vmath.h, seen through epilogues: errors, limits, same bits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from ipex_quant import _C
from kernel_reference import available_isas

ops = torch.ops.ipex_quant

Reference = Callable[[np.ndarray], np.ndarray]

ERF = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1 + e)


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + ERF(x / math.sqrt(2)))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def mish(x: np.ndarray) -> np.ndarray:
    return x * np.tanh(np.logaddexp(0, x))


#: Step, reference in float64, bound in ulp (None: 3 * 2^-24 * max(|x|, 2^-14) absolute).
FUNCTIONS: dict[str, tuple[Reference, float | None]] = {
    "sigmoid": (sigmoid, 2),
    "tanh": (np.tanh, 2),
    "elu(1)": (lambda x: np.where(x < 0, np.expm1(x), x), 1),
    "leaky_relu(0.25)": (lambda x: np.where(x < 0, 0.25 * x, x), 0.5),
    "gelu": (gelu, None),
    "gelu_tanh": (gelu_tanh, None),
    "silu": (lambda x: x * sigmoid(x), None),
    "hardswish": (lambda x: x * np.clip(x + 3, 0, 6) / 6, None),
    "mish": (mish, None),
}


def apply(step: str, factor: float, extra: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Inputs and outputs of a step for the 65 536 products (a - 128) * (b - 100) * factor."""
    a = torch.arange(256, dtype=torch.uint8)
    x = ops.binary(a[:, None], a, ops.binary_prepack("mul", factor, 128, 1.0, 100, extra), [])
    text = f"{extra}|{step}" if extra else step
    y = ops.binary(a[:, None], a, ops.binary_prepack("mul", factor, 128, 1.0, 100, text), [])
    return x.numpy(), y.numpy()


@pytest.mark.parametrize("step", list(FUNCTIONS))
def test_error(vector_isa, step):
    reference, bound = FUNCTIONS[step]
    for factor, extra in (
        (0.0051, ""),
        (0.0031, ""),
        (0.00073, ""),
        (1e-4, ""),
        (1e-6, ""),
        (1e-20, ""),
        (1e-20, "mul(1e-22)"),
    ):
        x, y = apply(step, factor, extra)
        wide = x.astype(np.float64)
        error = np.abs(y - reference(wide))
        if bound is None:
            limit = 3 * 2.0**-24 * np.maximum(np.abs(wide), 2.0**-14)
        else:
            spacing = np.spacing(np.abs(reference(wide)).astype(np.float32))
            limit = bound * spacing.astype(np.float64)
        worst = np.argmax(error - limit)
        assert np.all(error <= limit), f"{step} of {x.flat[worst]!r}: {y.flat[worst]!r}"


LIMITS = {
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "elu(1)": (-1, math.inf),
    "gelu": (0, math.inf),
    "gelu_tanh": (0, math.inf),
    "silu": (0, math.inf),
    "mish": (0, math.inf),
    "hardswish": (0, math.inf),
    "hardsigmoid": (0, 1),
    "leaky_relu(0.25)": (-math.inf, math.inf),
}


@pytest.mark.parametrize("step", list(LIMITS))
def test_infinities_and_nan(vector_isa, step):
    x, y = apply(step, 1.0, "mul(1e38)|mul(1e38)|mul(1e38)")
    assert np.isposinf(x).any()
    assert np.isneginf(x).any()
    np.testing.assert_array_equal(y[np.isneginf(x)], np.float32(LIMITS[step][0]))
    np.testing.assert_array_equal(y[np.isposinf(x)], np.float32(LIMITS[step][1]))

    x, y = apply(step, 1.0, "mul(1e38)|mul(1e38)|mul(1e38)|mul(0)")
    assert np.isnan(x).any()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))


@pytest.mark.parametrize("step", [*FUNCTIONS, "hardsigmoid"])
def test_same_bits_on_every_isa(step):
    for factor in (0.0051, 1e-3, 1e-6, 1e-30, 3.0):
        results = {}
        for name in available_isas():
            _C.set_isa_cap(name)
            results[name] = apply(step, factor)[1]
        _C.set_isa_cap("")
        for name, y in results.items():
            assert y.tobytes() == results["reference"].tobytes(), name
