"""Strategies and checks of the property tests: qparams, epilogues, guarded tensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from guarded import guarded
from ipex_quant import _C
from kernel_reference import available_isas, dequantize_reference, quantize_reference, random_u8

#: Of so many cases one is drawn: under a sanitizer there is no time for all.
DRAW_ONE_OF = int(os.environ.get("IPEX_QUANT_TESTS_DRAW_ONE_OF", "1"))


def cases(count: int) -> Callable:
    """So many examples for a test; without a deadline, because the machine may be busy."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=max(1, count // DRAW_ONE_OF),
        deadline=None,
        suppress_health_check=checks,
        database=None,
    )


@dataclass
class Epilogue:
    """A chain of steps that numpy can do exactly, and the chain's text."""

    steps: list[tuple[str, float, float]]
    residual: tuple[float, int] | None
    out: tuple[float, int] | None
    table: torch.Tensor | None = None

    def text(self) -> str:
        parts = [f"{name}({','.join(f'{v:.9g}' for v in values)})" for name, *values in self.named]
        if self.out:
            parts.append(f"quantize({self.out[0]:.9g},{self.out[1]})")
        if self.table is not None:
            parts.append(f"table({bytes(self.table.tolist()).hex()})")
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
        if self.out is None:
            return y
        q = quantize_reference(y, *self.out)
        return q if self.table is None else self.table.numpy()[q]


ISAS = available_isas()


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
    """At most three steps, a residual in front of them, a quantize and perhaps a table behind."""
    epilogue = Epilogue(
        draw(st.lists(step, max_size=3)),
        draw(st.none() | qparams) if residual else None,
        draw(st.none() | st.tuples(float32(2.0**-6, 8), zero_points)),
    )
    if epilogue.out and draw(st.booleans()):
        epilogue.table = random_u8(256, seed=draw(seeds))
    return epilogue


def trapped(seed: int, x: torch.Tensor) -> torch.Tensor:
    """The values of x with a trap behind them, or in front of them at each second seed."""
    return guarded(x, front=seed % 2 == 1) if x.numel() else x


def data(seed: int, *shape: int) -> torch.Tensor:
    """Trapped bytes; a third of the draws hold the extreme values alone."""
    x = random_u8(*shape, seed=seed)
    if seed % 3 == 0:
        x = (x > 127).to(torch.uint8) * 255
    return trapped(seed, x)


def weights(seed: int, *shape: int) -> torch.Tensor:
    """Weights from -128 to 127; a third of the draws hold the extreme values alone."""
    return data(seed, *shape).view(torch.int8)


def each_isa() -> Iterator[str]:
    """Caps the kernels at each ISA of the machine in turn, on 1, 2 or 3 threads."""
    try:
        for i, isa in enumerate(ISAS):
            _C.set_isa_cap(isa)
            torch.set_num_threads(1 + i % 3)
            yield isa
    finally:
        _C.set_isa_cap("")
        torch.set_num_threads(1)  # the references are small


def expect(run: Callable[[], torch.Tensor], expected: np.ndarray) -> None:
    """The values of `expected` from each ISA."""
    for isa in each_isa():
        np.testing.assert_array_equal(run().numpy(), expected, err_msg=isa)


def same_bits(run: Callable[[], Sequence[torch.Tensor]]) -> list[np.ndarray]:
    """The results of the weakest ISA, after checking that each ISA gives the same bytes."""
    first: list[np.ndarray] = []
    for isa in each_isa():
        results = [result.contiguous().numpy() for result in run()]
        first = first or results
        for own, other in zip(first, results, strict=True):
            assert own.tobytes() == other.tobytes(), isa
    return first


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a * b + c, rounded to float once: in float64 the product of two floats is exact."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(np.float32)


def channel_parameters(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight scales and bias of `n` output channels."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(n, generator=generator) * 0.01 + 1e-4
    return trapped(seed, scale), trapped(seed, torch.randn(n, generator=generator))


def scaled(acc: np.ndarray, x_scale: float, s: torch.Tensor, b: torch.Tensor, shape: Sequence[int]):
    """The float32 value of exact sums, per output channel."""
    scale = (np.float64(np.float32(x_scale)) * s.numpy().astype(np.float64)).astype(np.float32)
    return fma(acc.astype(np.float32), scale.reshape(shape), b.numpy().reshape(shape))
