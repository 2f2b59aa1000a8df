"""rnn against its definition; packed sequences of every recurrent op against sequences alone."""

from __future__ import annotations

import io

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from recurrent_model import ops, random_module

LENGTHS = [9, 7, 7, 4, 1, 1]


def rnn_parts(features: int, units: int, layers: int, both: bool, biases: bool = True):
    g = torch.Generator().manual_seed(3)
    weights, scales, bias = [], [], []
    for layer in range(layers):
        for _ in range(2 if both else 1):
            below = features if layer == 0 else units * (2 if both else 1)
            for k in (below, units):
                weights.append(torch.randint(-128, 128, (units, k), generator=g, dtype=torch.int8))
                scales.append((0.5 + torch.rand(units, generator=g)) / (70 * k**0.5))
                bias.append(torch.randn(units, generator=g) * 0.3)
    return weights, scales, bias if biases else []


def definition(x, h0, parts, layers, both, function):
    """The module by dynamic linears and torch's functions, one step after the other."""
    weights, scales, biases = parts
    last = []
    for layer in range(layers):
        outs = []
        for d in range(2 if both else 1):
            i = 2 * (layer * (2 if both else 1) + d)

            def linear(v, at):
                bias = biases[at] if biases else None
                packed = ops.linear_dynamic_prepack(weights[at], scales[at], bias, True, "")
                return ops.linear_dynamic(v, packed, [])

            h, steps = h0[i // 2], [None] * x.shape[0]
            for t in range(x.shape[0]) if d == 0 else reversed(range(x.shape[0])):
                h = function(linear(h, i + 1) + linear(x[t], i))
                steps[t] = h
            outs.append(torch.stack(steps))
            last.append(h)
        x = torch.cat(outs, -1)
    return x, torch.stack(last)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize(("layers", "both"), [(1, False), (2, True)])
def test_rnn_relu_is_exact(isa, layers, both, biases):
    parts = rnn_parts(6, 10, layers, both, biases)
    x, h0 = torch.randn(5, 3, 6), torch.randn(layers * (2 if both else 1), 3, 10)
    packed = ops.rnn_prepack(*parts, layers, both, False, "relu")
    y, hn = ops.rnn(x, h0, packed)
    expected_y, expected_h = definition(x, h0, parts, layers, both, torch.relu)
    assert torch.equal(y, expected_y) and torch.equal(hn, expected_h)
    first = ops.rnn_prepack(*parts, layers, both, True, "relu")
    assert torch.equal(ops.rnn(x.transpose(0, 1), h0, first)[0], y.transpose(0, 1))
    assert torch.equal(ops.rnn(x[:, 1], h0[:, 1], packed)[0], y[:, 1])


def test_rnn_tanh_is_close():
    parts = rnn_parts(6, 10, 1, False)
    x, h0 = torch.randn(1, 3, 6), torch.randn(1, 3, 10)
    y, _ = ops.rnn(x, h0, ops.rnn_prepack(*parts, 1, False, False, "tanh"))
    expected, _ = definition(x, h0, parts, 1, False, torch.tanh)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)


def packed_module(cell: str):
    if cell == "rnn":
        return ops.rnn_prepack(*rnn_parts(6, 10, 2, True), 2, True, True, "tanh")
    return random_module(cell, 6, 10, 2, bidirectional=True, x_scale=0.0).pack(batch_first=True)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_packed_batch_is_its_sequences(isa, cell):
    """Each sequence gets the bits that it gets alone, also backwards and in the second layer."""
    packed = packed_module(cell)
    single, many = getattr(ops, cell), getattr(ops, f"{cell}_sequences")
    sequences = [torch.randn(n, 6) for n in LENGTHS]
    data, sizes, *_ = pack_sequence(sequences)
    states = [torch.randn(4, len(LENGTHS), 10) for _ in range(2 if cell == "lstm" else 1)]
    y, *last = many(data, sizes, *states, packed)
    for row, sequence in enumerate(sequences):
        own = [s[:, row : row + 1].contiguous() for s in states]
        alone, *end = single(sequence[None], *own, packed)
        rows = [int(sizes[:t].sum()) + row for t in range(len(sequence))]
        assert torch.equal(y[rows], alone[0])
        for got, expected in zip(last, end, strict=True):
            assert torch.equal(got[:, row], expected[:, 0])


def test_rnn_saved():
    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.packed = packed_module("rnn")

        def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
            return torch.ops.ipex_quant.rnn(x, h, self.packed)[0]

    x, h = torch.randn(2, 5, 6), torch.zeros(4, 2, 10)
    scripted, file = torch.jit.script(Holder()), io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    assert torch.equal(torch.jit.load(file)(x, h), scripted(x, h))


def test_bad_input():
    weights, scales, biases = rnn_parts(6, 10, 1, False)
    for arguments, message in [
        ((weights, scales, biases, 1, False, False, "gelu"), 'must be "tanh" or "relu"'),
        ((weights[:1], scales, biases, 1, False, False, "tanh"), "expected 2 weights"),
        ((weights, scales[:1], biases, 1, False, False, "tanh"), "expected 2 weight scales"),
        ((weights, scales, biases[:1], 1, False, False, "tanh"), "expected 2 biases or none"),
        ((weights[::-1], scales, biases, 1, False, False, "tanh"), "must have shape"),
        ((weights, scales, biases, 0, False, False, "tanh"), "num_layers"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            ops.rnn_prepack(*arguments)
    packed = ops.rnn_prepack(weights, scales, biases, 1, False, False, "tanh")
    h = torch.zeros(1, 3, 10)
    for x, state, message in [
        (torch.zeros(5, 3, 7), h, "must have 6 features"),
        (torch.zeros(5, 2, 6), h, "h0 must have shape"),
        (torch.zeros(0, 3, 6), h, "must not be empty"),
        (torch.zeros(1, 5, 3, 6), h, "must have 3 dimensions"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            ops.rnn(x, state, packed)
    for sizes, message in [
        (torch.tensor([3.0, 2.0]), "must be an int64 CPU tensor"),
        (torch.tensor([2, 3]), "must not grow"),
        (torch.tensor([3, 1]), "sum up to 4"),
        (torch.tensor([4, 1]), "4 rows in the second"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            ops.rnn_sequences(torch.zeros(5, 6), sizes, h, packed)
    lstm = random_module("lstm", 6, 10, x_scale=0.0).pack()
    with pytest.raises(RuntimeError, match="c0 must have 3 dimensions and 3 rows"):
        ops.lstm_sequences(torch.zeros(5, 6), torch.tensor([3, 2]), h, h[:, :2], lstm)
