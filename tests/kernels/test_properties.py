"""Random cases of every int8 op against exact integers, bit for bit on each ISA: 20 000 of them.

hypothesis draws shapes, strides, scales, zero points and epilogues. Every drawn case runs on all
ISAs of the machine, each with another number of threads, and all must give the expected bytes.
Inputs end where readable memory ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guarded import guarded
from ipex_quant import _C
from kernel_reference import available_isas, dequantize_reference, quantize_reference, random_u8

ops = torch.ops.ipex_quant

pytestmark = pytest.mark.slow

# Together 20 000.
CASES = {"linear": 4000, "conv": 5000, "matmul": 3000, "binary": 2500}
CASES |= {"pool": 2000, "quantize": 2000, "cat": 1500}


def cases(op: str) -> Callable:
    """How many examples an op gets; without a deadline, because the machine may be busy."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=CASES[op], deadline=None, suppress_health_check=checks, database=None
    )


@dataclass
class Epilogue:
    """A chain of steps that numpy can do exactly, and the chain's text."""

    steps: list[tuple[str, float, float]]
    residual: tuple[float, int] | None
    out: tuple[float, int] | None

    def text(self) -> str:
        parts = [f"{name}({','.join(f'{v:.9g}' for v in values)})" for name, *values in self.named]
        if self.out:
            parts.append(f"quantize({self.out[0]:.9g},{self.out[1]})")
        return "|".join(parts).replace("()", "")

    @property
    def named(self) -> list[tuple]:
        first = [("add_u8", *self.residual)] if self.residual else []
        count = {"relu": 0, "clamp": 2, "mul": 1, "add": 1, "leaky_relu": 1}
        return first + [(name, *[a, b][: count[name]]) for name, a, b in self.steps]

    def apply(self, y: np.ndarray, other: torch.Tensor | None) -> np.ndarray:
        """What the op must store for the float32 value `y`."""
        f = np.float32
        if self.residual and other is not None:
            y = y + dequantize_reference(other.numpy(), *self.residual)
        for name, a, b in self.steps:
            y = {
                "relu": lambda y, a, b: np.maximum(y, f(0)),
                "clamp": lambda y, a, b: np.clip(y, f(a), f(b)),
                "mul": lambda y, a, b: y * f(a),
                "add": lambda y, a, b: y + f(a),
                "leaky_relu": lambda y, a, b: np.where(y < 0, y * f(a), y),
            }[name](y, a, b)
        return y if self.out is None else quantize_reference(y, *self.out)


def float32(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32)


scales = st.sampled_from([2.0**-n for n in range(3, 10)]) | float32(2.0**-10, 0.25)
zero_points = st.sampled_from([0, 1, 127, 128, 254, 255]) | st.integers(0, 255)
qparams = st.tuples(scales, zero_points)
seeds = st.integers(0, 2**20)
step = st.tuples(
    st.sampled_from(["relu", "clamp", "mul", "add", "leaky_relu"]),
    float32(-2, 0.5),
    float32(0.5, 8),
)


@st.composite
def epilogues(draw: st.DrawFn, residual: bool = True) -> Epilogue:
    """At most three steps, a residual in front of them, a quantize behind."""
    return Epilogue(
        draw(st.lists(step, max_size=3)),
        draw(st.none() | qparams) if residual else None,
        draw(st.none() | st.tuples(float32(2.0**-6, 8), zero_points)),
    )


def data(seed: int, *shape: int) -> torch.Tensor:
    """Bytes with a trap behind them; a third of the draws hold the extreme values alone."""
    x = random_u8(*shape, seed=seed)
    if seed % 3 == 0:
        x = (x > 127).to(torch.uint8) * 255
    return guarded(x) if x.numel() else x


def weights(seed: int, *shape: int) -> torch.Tensor:
    """Weights from -128 to 127; a third of the draws hold the extreme values alone."""
    return data(seed, *shape).clone().view(torch.int8)


def expect(run: Callable[[], torch.Tensor], expected: np.ndarray) -> None:
    """The bytes of `expected` from each ISA, on 1, 2 or 3 threads."""
    try:
        for i, isa in enumerate(available_isas()):
            _C.set_isa_cap(isa)
            torch.set_num_threads(1 + i % 3)
            np.testing.assert_array_equal(run().numpy(), expected, err_msg=isa)
    finally:
        _C.set_isa_cap("")
        torch.set_num_threads(1)  # the references are small


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c, rounded to float once: in float64 the product of two floats is exact."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float32)


def channel_parameters(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight scales and bias of `n` output channels."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(n, generator=generator) * 0.01 + 1e-4
    return scale, torch.randn(n, generator=generator)


def scaled(acc: np.ndarray, x_scale: float, s: torch.Tensor, b: torch.Tensor, shape: Sequence[int]):
    """The float32 value of exact sums, per output channel."""
    scale = (np.float64(np.float32(x_scale)) * s.numpy().astype(np.float64)).astype(np.float32)
    return fma(acc.astype(np.float32), scale.reshape(shape), b.numpy().reshape(shape))


@cases("linear")
@given(
    *(st.integers(1, 40), st.integers(1, 100), st.integers(1, 200)),
    *(qparams, epilogues(), seeds),
)
def test_linear(m, n, k, xq, epilogue, seed):
    x, w, (s, b) = data(seed, m, k), weights(seed + 1, n, k), channel_parameters(seed, n)
    acc = (x.numpy().astype(np.int64) - xq[1]) @ w.numpy().astype(np.int64).T
    other = data(seed + 2, m, n) if epilogue.residual else None
    expected = epilogue.apply(scaled(acc, xq[0], s, b, (1, -1)), other)
    packed = ops.linear_prepack(w, s, b, *xq, epilogue.text())
    expect(lambda: ops.linear(x, packed, [other] if other is not None else []), expected)


@st.composite
def convolutions(draw: st.DrawFn) -> dict:
    """Window, groups and sizes of a convolution whose output is not empty."""
    nd = draw(st.integers(1, 3))
    kind = draw(st.sampled_from(["dense", "groups", "depthwise", "transposed"]))
    groups = {"groups": draw(st.integers(2, 3)), "depthwise": draw(st.integers(2, 70))}.get(kind, 1)
    inputs = 1 if kind == "depthwise" else draw(st.integers(1, 12 if nd > 1 else 40))
    outputs = draw(st.integers(1, 2)) if kind == "depthwise" else draw(st.integers(1, 24))
    kernel = draw(st.lists(st.integers(1, (5, 4, 3)[nd - 1]), min_size=nd, max_size=nd))
    stride = draw(st.lists(st.integers(1, 3), min_size=nd, max_size=nd))
    dilation = draw(st.lists(st.integers(1, 2), min_size=nd, max_size=nd))
    padding = [draw(st.integers(0, k // 2)) for k in kernel]
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [r + draw(st.integers(0, (20, 8, 4)[nd - 1])) for r in reach]
    transposed = kind == "transposed"
    shape = (groups * inputs, outputs) if transposed else (groups * outputs, inputs)
    return {
        "x": (draw(st.integers(1, 2)), groups * inputs, *size),
        "w": (*shape, *kernel),
        "arguments": (stride, padding, dilation, [0] * nd, groups, transposed),
        "channels_last": draw(st.booleans()),
        "outputs": groups * outputs,
    }


@cases("conv")
@given(convolutions(), qparams, epilogues(), seeds)
def test_conv(c, xq, epilogue, seed):
    stride, padding, dilation, output_padding, groups, transposed = c["arguments"]
    nd = len(stride)
    x, w = data(seed, *c["x"]), weights(seed + 1, *c["w"])
    s, b = channel_parameters(seed, c["outputs"])
    values = x.double() - xq[1]
    if transposed:
        function = getattr(torch.nn.functional, f"conv_transpose{nd}d")
        acc = function(values, w.double(), None, stride, padding, output_padding, groups, dilation)
    else:
        function = getattr(torch.nn.functional, f"conv{nd}d")
        acc = function(values, w.double(), None, stride, padding, dilation, groups)
    other = data(seed + 2, *acc.shape) if epilogue.residual else None
    expected = epilogue.apply(scaled(acc.numpy(), xq[0], s, b, (1, -1, *[1] * nd)), other)
    packed = ops.conv_prepack(w, s, b, *c["arguments"], *xq, epilogue.text())
    if c["channels_last"] and nd == 2:
        x = x.contiguous(memory_format=torch.channels_last)
    expect(lambda: ops.conv(x, packed, [other] if other is not None else []), expected)


@cases("matmul")
@given(
    *(st.integers(1, 3), st.integers(1, 30), st.integers(1, 70), st.integers(1, 100)),
    *(qparams, qparams, epilogues(residual=False), st.booleans(), seeds),
)
def test_matmul(batch, m, n, k, aq, bq, epilogue, transposed, seed):
    a = data(seed, batch, m, k)
    b = data(seed + 1, batch, n, k).transpose(1, 2) if transposed else data(seed + 1, batch, k, n)
    exact = np.matmul(a.numpy().astype(np.int64) - aq[1], b.numpy().astype(np.int64) - bq[1])
    scale = np.float32(np.float64(np.float32(aq[0])) * np.float64(np.float32(bq[0])))
    expected = epilogue.apply(exact.astype(np.float32) * scale, None)
    packed = ops.matmul_prepack(*aq, *bq, epilogue.text())
    expect(lambda: ops.matmul(a, b, packed, []), expected)


@cases("binary")
@given(
    st.sampled_from(["add", "sub", "mul"]),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=4, max_size=4),
    *(qparams, qparams, epilogues(residual=False), seeds),
)
def test_binary(op, shape, spread, aq, bq, epilogue, seed):
    other_shape = [1 if one else n for n, one in zip(shape, spread, strict=False)]
    a, b = data(seed, *shape), data(seed + 1, *other_shape)
    function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[op]
    y = function(dequantize_reference(a.numpy(), *aq), dequantize_reference(b.numpy(), *bq))
    packed = ops.binary_prepack(op, *aq, *bq, epilogue.text())
    expect(lambda: ops.binary(a, b, packed, []), epilogue.apply(y, None))


@cases("pool")
@given(
    *(st.integers(1, 2), st.integers(1, 70), st.integers(3, 9), st.integers(3, 9)),
    *(st.integers(1, 3), st.integers(1, 3), st.integers(0, 1), st.booleans(), st.booleans()),
    *(st.sampled_from(["max", "average"]), qparams, qparams, seeds),
)
def test_pool(n, c, h, w, kernel, stride, padding, ceil_mode, channels_last, kind, xq, yq, seed):
    padding = min(padding, kernel // 2)
    x = data(seed, n, c, h, w)
    window = ([kernel] * 2, [stride] * 2, [padding] * 2)
    functional = torch.nn.functional
    if kind == "max":
        expected = functional.max_pool2d(x.double(), *window, 1, ceil_mode).to(torch.uint8).numpy()
    else:
        centred = x.double() - xq[1]
        total = functional.avg_pool2d(centred, *window, ceil_mode, True, divisor_override=1)
        count = functional.avg_pool2d(
            torch.ones_like(centred), *window, ceil_mode, False, divisor_override=1
        )
        factor = np.float32(xq[0]) / count.numpy().astype(np.float32)
        expected = quantize_reference(total.numpy().astype(np.float32) * factor, *yq)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)

    def run() -> torch.Tensor:
        if kind == "max":
            return ops.max_pool(x, *window, [1, 1], ceil_mode)
        return ops.avg_pool(x, *window, ceil_mode, False, None, *xq, *yq)

    expect(run, expected)


@cases("quantize")
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), qparams, qparams, seeds)
def test_quantize(shape, xq, yq, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) * 10.0 ** (seed % 5 - 1)
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e-40, -0.0])
    x.view(-1)[:5] = special[: x.numel()][: x.view(-1)[:5].numel()]
    q = quantize_reference(x.numpy(), *xq)
    back = dequantize_reference(q, *xq)
    expect(lambda: ops.quantize(x, *xq), q)
    if x.dim() == 4:
        expect(lambda: ops.quantize_channels_last(x, *xq), q)
    bytes_ = guarded(torch.from_numpy(q))
    expect(lambda: ops.dequantize(bytes_, *xq), back)
    expect(lambda: ops.requantize(bytes_, *xq, *yq), quantize_reference(back, *yq))


@cases("cat")
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.lists(st.integers(1, 8), min_size=2, max_size=3),
    *(st.lists(qparams, min_size=4, max_size=4), qparams, st.integers(0, 2), seeds),
)
def test_cat(widths, shape, xqs, yq, dim, seed):
    dim = min(dim, len(shape) - 1)
    tensors, parts = [], []
    for i, width in enumerate(widths):
        tensors.append(data(seed + i, *shape[:dim], width, *shape[dim + 1 :]))
        parts.append(dequantize_reference(tensors[-1].numpy(), *xqs[i]))
    expected = quantize_reference(np.concatenate(parts, dim), *yq)
    scales_, zeros = (list(v) for v in zip(*xqs[: len(widths)], strict=True))
    expect(lambda: ops.cat(tensors, scales_, zeros, dim, *yq), expected)


def test_there_are_20000() -> None:
    assert sum(CASES.values()) >= 20_000
