"""NaN, infinities, zeros of either sign and denormals give the bits that docs/numerics.md states.

Every operator that reads float runs on every instruction set and gives the bits of the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ipex_quant import _C
from kernel_reference import available_isas

ops = torch.ops.ipex_quant
NAN, INF = float("nan"), float("inf")
SPECIAL = [NAN, -NAN, INF, -INF, 0.0, -0.0, 1e-45, -1e-45, 1.1e-38, 1e-30, 3.4e38, -3.4e38]


def laced(*shape: int, share: float = 0.1, only: list[float] | None = None) -> torch.Tensor:
    """Normal values with special ones among them."""
    x = torch.randn(*shape)
    values = torch.tensor(only or SPECIAL)
    where = torch.rand(*shape) < share
    return torch.where(where, values[torch.randint(0, len(values), shape)], x)


def int8(*shape: int) -> torch.Tensor:
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def rnn_weights(rows: int, features: int, units: int) -> tuple[list, list, list]:
    weights = [int8(rows, features), int8(rows, units)]
    return weights, [torch.rand(rows) * 0.01 + 0.001 for _ in weights], [torch.randn(rows)] * 2


def quantizing(x: torch.Tensor) -> Any:
    return ops.quantize(x, 0.1, 100), ops.quantize_channels_last(x.reshape(2, 5, 11, 7), 0.1, 3)


def dynamic_linear(per_row: bool, epilogue: str) -> Callable[[torch.Tensor], Any]:
    torch.manual_seed(1)
    packed = ops.linear_dynamic_prepack(
        int8(33, 35), torch.rand(33) * 0.01 + 0.001, torch.randn(33), per_row, epilogue
    )
    return lambda x: ops.linear_dynamic(x.reshape(22, 35), packed, [])


def recurrent(op: str, units: int, x_scale: float = 0.0) -> Callable[[torch.Tensor], Any]:
    torch.manual_seed(1)
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[op]
    arguments = rnn_weights(gates * units, 35, units)
    if op == "rnn":
        packed = ops.rnn_prepack(*arguments, 1, False, False, "tanh")
    else:
        prepack = getattr(ops, f"{op}_prepack")
        packed = prepack(*arguments, 1, False, False, True, x_scale, 0, "")
    states = 2 if op == "lstm" else 1

    def run(x: torch.Tensor) -> Any:
        h = laced_state(x, units)
        return getattr(ops, op)(x.reshape(11, 2, 35), *[h] * states, packed)

    return run


def laced_state(x: torch.Tensor, units: int) -> torch.Tensor:
    """A state that has the special values of x, too."""
    return x.reshape(-1)[: 2 * units].reshape(1, 2, units).contiguous()


def bags(x: torch.Tensor) -> Any:
    torch.manual_seed(1)
    packed = ops.embedding_prepack(int8(20, 37), torch.rand(20) + 0.1, "quantize(0.1,128)")
    index = torch.randint(0, 20, (x.numel(),))
    return ops.embedding_bag(
        index, torch.arange(0, x.numel(), 7), packed, 0, x.reshape(-1), False, -1
    )


def epilogue(steps: str) -> Callable[[torch.Tensor], Any]:
    """A product whose epilogue reads x."""
    torch.manual_seed(1)
    a, w = torch.randint(0, 256, (22, 16), dtype=torch.uint8), int8(35, 16)
    packed = ops.linear_prepack(w, torch.tensor([0.01]), None, 0.01, 100, steps)
    return lambda x: ops.linear(a, packed, [x.reshape(22, 35)])


def attention(scores: str) -> Callable[[torch.Tensor], Any]:
    """Attention whose scores read x as a mask."""
    torch.manual_seed(1)
    q, k, v = (torch.randint(0, 256, (1, 1, n, 16), dtype=torch.uint8) for n in (22, 35, 35))
    qparams = (0.02, 131, 0.015, 117, 1 / 255, 0, 0.01, 100)
    packed = ops.attention_prepack(*qparams, scores, "quantize(0.002,128)")
    return lambda x: ops.attention(q, k.transpose(2, 3), v, packed, [x.reshape(1, 1, 22, 35)], [])


def product(x: torch.Tensor) -> Any:
    """A product, and a sum, of int8 data whose epilogues read x."""
    torch.manual_seed(1)
    a, b = (torch.randint(0, 256, n, dtype=torch.uint8) for n in ((1, 22, 16), (1, 16, 35)))
    steps = "add_f32|quantize(0.1,90)"
    matmul = ops.matmul_prepack(0.02, 100, 0.01, 120, steps)
    both = ops.binary_prepack("mul", 0.1, 3, 0.1, 9, steps)
    y = ops.matmul(a, b, matmul, [x.reshape(1, 22, 35)])
    return y, ops.binary(y, y, both, [x.reshape(1, 22, 35)])


STEPS = ["relu", "clamp(-1,2)", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "hardswish"]
STEPS += ["hardsigmoid", "leaky_relu(0.1)", "elu(1)", "mish", "mul(0.5)", "add(1)"]
CASES: dict[str, Callable[[torch.Tensor], Any]] = {
    "quantize": quantizing,
    "softmax": lambda x: ops.softmax(x.reshape(22, 35), 1 / 255, 0),
    "layer_norm": lambda x: ops.layer_norm(
        x.reshape(22, 35), torch.ones(35), torch.zeros(35), 1e-5, None, 0.05, 128
    ),
    "rms_norm": lambda x: ops.rms_norm_quantize(x.reshape(22, 35), torch.ones(35), 1e-5, 0.05, 128),
    "dynamic linear by row": dynamic_linear(True, ""),
    "dynamic linear by tensor": dynamic_linear(False, "gelu|quantize(0.1,7)"),
    "lstm": recurrent("lstm", 20),
    "lstm of few inputs": recurrent("lstm", 160),
    "gru": recurrent("gru", 20),
    "gru of few inputs": recurrent("gru", 160),
    "rnn": recurrent("rnn", 20),
    "embedding_bag": bags,
    "attention, mask added": attention("mul(0.125)|add_f32"),
    "matmul and binary": product,
    **{f"add_f32, {s}": epilogue(f"add_f32|{s}") for s in STEPS},
    **{f"add_f32, {s}, quantize": epilogue(f"add_f32|{s}|quantize(0.1,90)") for s in STEPS},
}


def bits(value: Any) -> list[bytes]:
    """Bytes of all tensors; every NaN counts as one, since its sign and payload mean nothing."""
    if isinstance(value, torch.Tensor):
        array = value.numpy()
        if array.dtype == np.float32:
            array = np.where(np.isnan(array), np.float32(np.nan), array)
        return [array.tobytes()]
    return [b for inner in value for b in bits(inner)]


@pytest.mark.parametrize("name", CASES)
def test_the_same_on_every_isa(name: str) -> None:
    torch.manual_seed(2)
    for share in (0.0, 0.02, 0.3, 1.0):
        x = laced(770, share=share)
        try:
            expected = None
            for isa in available_isas():
                _C.set_isa_cap(isa)
                got = bits(CASES[name](x))
                expected = got if expected is None else expected
                assert got == expected, f"{isa}, {share:.0%} special"
        finally:
            _C.set_isa_cap("")


def test_quantize() -> None:
    x = torch.tensor([NAN, -NAN, INF, -INF, 0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38])
    assert ops.quantize(x, 0.1, 100).tolist() == [0, 0, 255, 0, 100, 100, 100, 100, 255, 0]


def test_the_smallest_scale_sees_denormals() -> None:
    """A denormal is a number like others: nothing flushes it to zero."""
    x = torch.tensor([1e-39, 3e-39, -1e-39])
    assert ops.quantize(x, 3e-39, 100).tolist() == [100, 101, 100]


def test_a_dynamic_linear_keeps_rows_apart() -> None:
    """NaN counts as the lower bound of its row; an infinity makes its own row NaN."""
    torch.manual_seed(0)
    weight = int8(9, 8)
    packed = ops.linear_dynamic_prepack(weight, torch.full((9,), 0.01), None, True, "")
    x = torch.randn(5, 8)
    lowest = x.clone()
    lowest[1, 2] = torch.minimum(x[1, [0, 1, 3, 4, 5, 6, 7]].min(), torch.tensor(0.0))
    x[1, 2], x[2, 3], x[3, 4] = NAN, INF, -INF
    got, expected = ops.linear_dynamic(x, packed, []), ops.linear_dynamic(lowest, packed, [])
    assert torch.equal(got[[0, 1, 4]], expected[[0, 1, 4]])
    assert got[2:4].isnan().all()
    whole = ops.linear_dynamic_prepack(weight, torch.full((9,), 0.01), None, False, "")
    assert ops.linear_dynamic(x, whole, []).isnan().all()


def test_an_lstm_keeps_sequences_apart() -> None:
    """What follows an infinity in its sequence is NaN; a NaN is one bad input of its step."""
    torch.manual_seed(0)
    packed = ops.lstm_prepack(*rnn_weights(16, 8, 4), 1, False, False, True, 0.0, 0, "")
    x, zeros = torch.randn(3, 3, 8), torch.zeros(1, 3, 4)
    clean = ops.lstm(x, zeros, zeros, packed)[0]
    x[1, 0, 2], x[1, 1, 2] = INF, NAN
    y, _, _ = ops.lstm(x, zeros, zeros, packed)
    assert y[1:, 0].isnan().all()
    assert y[:, 1].isfinite().all()
    assert torch.equal(y[:, 2], clean[:, 2]) and torch.equal(y[0], clean[0])
    cell = zeros.clone()
    cell[0, 2, 1] = NAN
    y, _, _ = ops.lstm(x, zeros, cell, packed)
    assert y[0, 2].isnan().tolist() == [False, True, False, False]


def test_norms() -> None:
    x = torch.randn(4, 8)
    x[0, 1], x[1, 1], x[2, 1] = NAN, INF, -INF
    y, q = ops.layer_norm(x, torch.ones(8), torch.zeros(8), 1e-5, None, 0.05, 128)
    assert y[:3].isnan().all() and (q[:3] == 0).all() and y[3].isfinite().all()
    weights = ops.softmax(x, 1 / 255, 0)
    assert (weights[:2] == 0).all() and weights[2, 1] == 0 and weights[2].max() > 0


def test_an_epilogue_takes_the_limits() -> None:
    """As torch's functions do."""
    packed = {
        steps: ops.linear_prepack(
            int8(3, 4), torch.full((3,), 0.01), None, 0.1, 3, f"add_f32|{steps}"
        )
        for steps in ("relu", "sigmoid", "tanh", "elu(1)", "gelu", "hardswish")
    }
    expected = {"relu": 0.0, "sigmoid": 0.0, "tanh": -1.0, "elu(1)": -1.0}
    x, other = torch.zeros(1, 4, dtype=torch.uint8), torch.tensor([[NAN, INF, -INF]])
    for steps, made in packed.items():
        nan, high, low = ops.linear(x, made, [other])[0].tolist()
        assert nan != nan
        assert high == (1.0 if steps in ("sigmoid", "tanh") else INF)
        assert low == expected.get(steps, 0.0)
