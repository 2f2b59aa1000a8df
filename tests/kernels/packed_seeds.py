"""One valid packed object of each class and form, with a call that fits what its state says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

ops = torch.ops.ipex_quant


def state_of(packed: Any) -> tuple:
    """What is saved of a packed object."""
    return packed._get_method("__getstate__")()


def set_state(packed: Any, state: tuple) -> None:
    """What loading does with it. A failure leaves the object as it was."""
    packed._get_method("__setstate__")(state)


@dataclass
class Seed:
    """A packed object, and how to call one with a given state."""

    name: str
    make: Callable[[], Any]
    call: Callable[[Any, tuple], Any]


def int8(*shape: int) -> torch.Tensor:
    """Weights over the whole range."""
    return torch.randint(-128, 128, shape, dtype=torch.int8)


def bytes_of(*shape: int) -> torch.Tensor:
    """Activations over the whole range."""
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def others(epilogue: str, *shape: int) -> list[torch.Tensor]:
    """A tensor for each step of an epilogue that reads one."""
    found = []
    for step in epilogue.split("|"):
        if step.startswith(("add_u8", "mul_u8")):
            found.append(bytes_of(*shape))
        elif step.startswith(("add_f32", "mul_f32", "prelu")):
            found.append(torch.randn(*shape))
        elif step.startswith(("masked_fill", "where")):
            found.append(torch.rand(*shape) < 0.5)
    return found


def call_linear(packed: Any, state: tuple) -> Any:
    n, k = state[1].shape
    return ops.linear(bytes_of(3, k), packed, others(state[6], 3, n))


def call_dynamic(packed: Any, state: tuple) -> Any:
    n, k = state[1].shape
    return ops.linear_dynamic(torch.randn(3, k), packed, others(state[5], 3, n))


def call_conv(packed: Any, state: tuple) -> Any:
    weight, groups, transposed = state[1], state[8], state[9]
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    x = bytes_of(2, channels, *[7] * (weight.dim() - 2))
    return ops.conv(x, packed, [])


def call_matmul(packed: Any, state: tuple) -> Any:
    return ops.matmul(bytes_of(2, 3, 5), bytes_of(2, 5, 4), packed, others(state[5], 2, 3, 4))


def call_attention(packed: Any, state: tuple) -> Any:
    q, k, v = bytes_of(2, 3, 5), bytes_of(2, 5, 4), bytes_of(2, 4, 6)
    return ops.attention(q, k, v, packed, others(state[9], 2, 3, 4), others(state[10], 2, 3, 6))


def call_binary(packed: Any, state: tuple) -> Any:
    return ops.binary(bytes_of(3, 5), bytes_of(3, 5), packed, others(state[6], 3, 5))


def call_embedding(packed: Any, state: tuple) -> Any:
    rows = state[1].shape[0]
    index = torch.randint(0, max(rows, 1), (6,))
    ops.embedding_bag(index, torch.tensor([0, 2]), packed, 0, None, False, -1)
    return ops.embedding(index, packed)


def call_recurrent(op: Any, states: int) -> Callable[[Any, tuple], Any]:
    """LSTM, GRU and RNN: so many states go in beside the input."""

    def call(packed: Any, state: tuple) -> Any:
        weights, (layers, both, _) = state[1], state[4]
        features, units = weights[0].shape[1], weights[1].shape[1]
        h = torch.randn(layers * (1 + both), 2, units)
        x = torch.randn(2, 2, features)  # two steps of two: either order of dimensions
        if state[0] == 1 and len(state) == 8 and state[5] > 0:
            x = bytes_of(2, 2, features)
        return op(x, *[h] * states, packed)

    return call


def conv(weight: torch.Tensor, groups: int = 1, transposed: bool = False) -> Any:
    """A convolution with padding 1."""
    nd = weight.dim() - 2
    out = weight.shape[1] * groups if transposed else weight.shape[0]
    return ops.conv_prepack(
        weight, torch.rand(out) + 0.1, torch.randn(out), [1] * nd, [1] * nd, [1] * nd, [0] * nd,
        groups, transposed, 0.1, 7, "relu|quantize(0.2,3)",
    )  # fmt: skip


def gates(gate_count: int, scale: float) -> tuple:
    """Arguments of a bidirectional LSTM, GRU or RNN of one layer: 5 features, 4 units."""
    rows = gate_count * 4
    weights = [int8(rows, 5), int8(rows, 4)] * 2
    scales = [torch.rand(rows) + 0.1 for _ in weights]
    biases = [torch.randn(rows) for _ in weights]
    return weights, scales, biases, 1, True, False


SEEDS = [
    Seed(
        "linear",
        lambda: ops.linear_prepack(
            int8(6, 9), torch.rand(6) + 0.1, torch.randn(6), 0.1, 3, "gelu|add_u8(0.1,4)"
        ),
        call_linear,
    ),
    Seed(
        "linear quantized",
        lambda: ops.linear_prepack(
            int8(33, 64), torch.tensor([0.1]), None, 0.1, 255, "clamp(-1,6)|quantize(0.5,0)"
        ),
        call_linear,
    ),
    Seed(
        "dynamic linear",
        lambda: ops.linear_dynamic_prepack(
            int8(6, 9), torch.rand(6) + 0.1, torch.randn(6), True, "silu|mul_f32"
        ),
        call_dynamic,
    ),
    Seed("conv1d", lambda: conv(int8(4, 3, 3)), call_conv),
    Seed("conv2d", lambda: conv(int8(8, 3, 3, 3)), call_conv),
    Seed("depthwise", lambda: conv(int8(8, 1, 3, 3), groups=8), call_conv),
    Seed("grouped", lambda: conv(int8(8, 2, 3, 3), groups=4), call_conv),
    Seed("transposed", lambda: conv(int8(4, 3, 3, 3), transposed=True), call_conv),
    Seed("conv3d", lambda: conv(int8(4, 2, 3, 3, 3)), call_conv),
    Seed(
        "matmul", lambda: ops.matmul_prepack(0.1, 3, 0.2, 128, "mul(0.5)|quantize(0.1,9)"),
        call_matmul,
    ),
    Seed(
        "attention",
        lambda: ops.attention_prepack(
            0.1, 3, 0.2, 128, 1 / 255, 0, 0.1, 9, "mul(0.5)|where(-inf)", "quantize(0.1,9)"
        ),
        call_attention,
    ),
    Seed(
        "binary", lambda: ops.binary_prepack("add", 0.1, 3, 0.2, 128, "relu|quantize(0.1,9)"),
        call_binary,
    ),
    Seed(
        "embedding", lambda: ops.embedding_prepack(int8(10, 5), torch.rand(10) + 0.1, ""),
        call_embedding,
    ),
    Seed(
        "lstm", lambda: ops.lstm_prepack(*gates(4, 0.1), True, 0.1, 7, "quantize(0.1,128)"),
        call_recurrent(ops.lstm, 2),
    ),
    Seed(
        "lstm dynamic", lambda: ops.lstm_prepack(*gates(4, 0), True, 0.0, 0, ""),
        call_recurrent(ops.lstm, 2),
    ),
    Seed(
        "gru", lambda: ops.gru_prepack(*gates(3, 0.1), True, 0.1, 7, ""),
        call_recurrent(ops.gru, 1),
    ),
    Seed("rnn", lambda: ops.rnn_prepack(*gates(1, 0), "tanh"), call_recurrent(ops.rnn, 1)),
]  # fmt: skip
