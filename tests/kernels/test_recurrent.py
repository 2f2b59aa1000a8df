"""lstm and gru against their definition, against torch in float, and against themselves."""

from __future__ import annotations

import io

import pytest
import torch

from ipex_quant import _C
from recurrent_model import (
    Module,
    check_against_model,
    ops,
    quantize_float_module,
    random_input,
    random_module,
    random_states,
)

CELLS = ["lstm", "gru"]
# features, units, layers, bidirectional, biases, time, batch: tile edges of every ISA in turn.
CASES = [
    (1, 1, 1, False, True, 1, 1),
    (3, 5, 2, True, True, 4, 2),
    (13, 17, 1, False, False, 3, 7),
    (40, 33, 3, False, True, 5, 1),
    (10, 64, 2, True, False, 6, 5),
    (64, 48, 1, True, True, 2, 13),
    (7, 100, 2, False, True, 70, 3),
]
MODES = {"static": {"x_scale": 0.02, "x_zero_point": 131}, "run_time": {"x_scale": 0.0}}


def bits(results) -> list[bytes]:
    return [t.contiguous().numpy().tobytes() for t in results]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_definition(case, cell, mode):
    features, units, layers, bidirectional, biases, time, batch = case
    m = random_module(
        cell, features, units, layers, bidirectional=bidirectional, biases=biases, **MODES[mode]
    )
    check_against_model(m, random_input(m, time, batch), *random_states(m, batch))


@pytest.mark.parametrize("cell", CELLS)
def test_definition_on_each_isa(isa, cell):
    for rows in range(1, 8):
        m = random_module(cell, 12, 20, 1, x_scale=0.02, x_zero_point=255)
        check_against_model(m, random_input(m, 2, rows), *random_states(m, rows))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [(9, 19, 2, True), (70, 31, 2, False), (5, 128, 1, False)])
def test_same_bits_on_every_isa(cell, mode, shape):
    features, units, layers, bidirectional = shape
    m = random_module(cell, features, units, layers, bidirectional=bidirectional, **MODES[mode])
    x, states = random_input(m, 9, 8), random_states(m, 8)
    results = {}
    for name in _C.isa_names():
        try:
            _C.set_isa_cap(name)
        except ValueError:
            continue
        results[name] = bits(m.run(x, *states))
    _C.set_isa_cap("")
    for name, result in results.items():
        assert result == results["reference"], name


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_same_bits_for_all_threads(cell, bidirectional, batch, same_for_all_threads):
    m = random_module(cell, 20, 24, 2, bidirectional=bidirectional)
    x, states = random_input(m, 6, batch), random_states(m, batch)
    same_for_all_threads(lambda: torch.cat([t.flatten() for t in m.run(x, *states)]))


@pytest.mark.parametrize("cell", CELLS)
def test_same_bits_when_steps_are_split(cell, same_for_all_threads):
    # Large enough for the units of one sequence to be spread over threads.
    m = random_module(cell, 8, 528)
    x, states = random_input(m, 4, 1), random_states(m, 1)
    same_for_all_threads(lambda: torch.cat([t.flatten() for t in m.run(x, *states)]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_row_does_not_depend_on_its_batch(cell, mode):
    m = random_module(cell, 11, 22, 2, bidirectional=True, **MODES[mode])
    x, (h0, c0) = random_input(m, 5, 9), random_states(m, 9)
    whole = m.run(x, h0, c0)
    for b in range(9):
        alone = m.run(x[:, b : b + 1], h0[:, b : b + 1], c0[:, b : b + 1])
        assert bits(alone) == bits([t[:, b : b + 1] for t in whole]), b


@pytest.mark.parametrize("cell", CELLS)
def test_input_forms(cell):
    m = random_module(cell, 10, 20, 2, bidirectional=True)
    x, (h0, c0) = random_input(m, 5, 3), random_states(m, 3)
    y, *last = m.run(x, h0, c0)
    first = m.run(x.transpose(0, 1).contiguous(), h0, c0, batch_first=True)
    assert bits(first) == bits([y.transpose(0, 1), *last])
    assert first[0].is_contiguous()
    assert bits(m.run(x.transpose(0, 1), h0, c0, batch_first=True)) == bits(first)  # strided
    wide = torch.randn(5, 3, 20)
    wide[..., ::2] = x
    assert bits(m.run(wide[..., ::2], h0, c0)) == bits([y, *last])
    for batch_first in (False, True):
        single = m.run(x[:, 1], h0[:, 1], c0[:, 1], batch_first=batch_first)
        assert bits(single) == bits([t[:, 1] for t in (y, *last)])
    assert single[0].shape == (5, 40) and single[1].shape == (4, 20)
    same = m.run(x[:, :1].expand(5, 3, 10), h0, c0)
    assert bits(same) == bits(m.run(x[:, :1].repeat(1, 3, 1), h0, c0))


@pytest.mark.parametrize("cell", CELLS)
def test_quantized_output(isa, cell):
    m = random_module(cell, 10, 21, 2, bidirectional=True)
    x, states = random_input(m, 5, 3), random_states(m, 3)
    y, *last = m.run(x, *states)
    q, *q_last = m.run(x, *states, epilogue="quantize(0.00600000005,120)")
    assert q.dtype == torch.uint8
    assert torch.equal(q, ops.quantize(y, 0.006, 120))
    assert bits(q_last) == bits(last)


# Measured: 0.3 % to 1.1 % of the output's norm.
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("float_class", [torch.nn.LSTM, torch.nn.GRU])
def test_close_to_float(float_class, bias, batch_first, bidirectional, layers):
    torch.manual_seed(layers)
    reference = float_class(
        24, 40, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional
    ).eval()
    m = quantize_float_module(reference)
    shape = (3, 20, 24) if batch_first else (20, 3, 24)
    x, (h0, c0) = torch.randn(shape), random_states(m, 3)
    with torch.no_grad():
        y, last = reference(x, (h0, c0) if m.cell == "lstm" else h0)
    expected = [y, *(last if m.cell == "lstm" else [last])]
    scale = 8 / 255
    x_static = ops.quantize(x, scale, 128)
    for got in (m.run(x, h0, c0), m.run(x_static, h0, c0, x_scale=scale, x_zero_point=128)):
        for a, b in zip(got, expected, strict=True):
            assert (a - b).norm() <= 0.02 * b.norm()


def test_small_hidden_state_keeps_its_precision():
    # A fixed scale for h would lose a factor of 8 here: |h| stays below 0.11.
    torch.manual_seed(0)
    reference = torch.nn.LSTM(64, 256).eval()
    m = quantize_float_module(reference)
    x = torch.randn(50, 2, 64)
    with torch.no_grad():
        y, _ = reference(x)
    zeros = torch.zeros(1, 2, 256)
    got, *_ = m.run(x, zeros, zeros)
    assert (got - y).norm() <= 0.008 * y.norm()  # measured 0.0045; fixed scale 0.02


def test_wide_range_input_keeps_its_small_features():
    # One loud feature and one quiet one that alone carries the information: 16 bits at run time.
    m = random_module("lstm", 2, 32, biases=False)
    x = torch.tensor([[[1000.0, 0.5]], [[1000.0, -0.5]]])
    zeros = torch.zeros(1, 1, 32)
    m.weights[0][:, 0] = 0
    m.scales[0] = torch.full((128,), 1 / 127)
    got, *_ = m.run(x, zeros, zeros)
    only = x.clone()
    only[..., 0] = 0
    expected, *_ = m.run(only, zeros, zeros)
    assert (got - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("cell", CELLS)
def test_special_values(isa, cell):
    m = random_module(cell, 8, 20)
    h0, c0 = random_states(m, 3)
    x = torch.randn(2, 3, 8)
    clean = m.run(x, h0, c0)
    x[0, 1, 3] = torch.nan
    x[1, 1, 0] = torch.inf
    dirty = m.run(x, h0, c0)
    for b in (0, 2):  # other rows see nothing of it
        assert bits([t[:, b] for t in dirty]) == bits([t[:, b] for t in clean])
    zeros = torch.zeros(2, 3, 8)
    y, *_ = m.run(zeros, torch.zeros_like(h0), torch.zeros_like(c0))
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("cell", CELLS)
def test_states_that_are_not_given_are_zero(cell):
    m = random_module(cell, 8, 20, 2, bidirectional=True)
    for x in (torch.randn(5, 3, 8), torch.randn(5, 8)):
        zeros = torch.zeros(4, 3, 20) if x.dim() == 3 else torch.zeros(4, 20)
        assert bits(m.run(x, None, None)) == bits(m.run(x, zeros, zeros))


@pytest.mark.parametrize("cell", CELLS)
def test_empty_batch(cell):
    m = random_module(cell, 8, 20, 2)
    empty = torch.zeros(2, 0, 20)
    y, hn, *_ = m.run(torch.zeros(5, 0, 8), empty, empty)
    assert y.shape == (5, 0, 20) and hn.shape == (2, 0, 20)


class Holder(torch.nn.Module):
    """Holds a packed object for torch.jit.script."""

    def __init__(self, packed):
        super().__init__()
        self.packed = packed


class LstmHolder(Holder):
    def forward(self, x, h0, c0):
        return torch.ops.ipex_quant.lstm(x, h0, c0, self.packed)


class GruHolder(Holder):
    def forward(self, x, h0, c0):
        return torch.ops.ipex_quant.gru(x, h0, self.packed)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", CELLS)
def test_save_and_load(cell, mode):
    m = random_module(
        cell, 9, 18, 2, bidirectional=True, batch_first=True, epilogue="quantize(0.01,128)",
        **MODES[mode],
    )  # fmt: skip
    holder = torch.jit.script((LstmHolder if cell == "lstm" else GruHolder)(m.pack()))
    file = io.BytesIO()
    torch.jit.save(holder, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    x, states = random_input(m, 3, 4), random_states(m, 3)
    assert bits(loaded(x, *states)) == bits(m.run(x, *states))


def damaged_states(m: Module):
    """(part of the message, state) of states that must not load."""
    state = m.pack()._get_method("__getstate__")()
    version, weights, scales, biases, ints, x_scale, zero_point, epilogue = state
    assert version == 1
    rest = (ints, x_scale, zero_point, epilogue)
    yield "version 2", (2, weights, scales, biases, *rest)
    yield "expected 4 weights", (1, weights[:-1], scales, biases, *rest)
    yield "must be Char", (1, [w.float() for w in weights], scales, biases, *rest)
    yield "must have shape", (1, [w[:, :-1] for w in weights], scales, biases, *rest)
    yield "weight scales", (1, weights, scales[:-1], biases, *rest)
    yield "finite and positive", (1, weights, [s * 0 for s in scales], biases, *rest)
    yield "biases", (1, weights, scales, biases[:-1], *rest)
    yield "biases", (1, weights, scales, [b[:-1] for b in biases], *rest)
    yield "damaged", (1, weights, scales, biases, ints[:-1], *rest[1:])
    yield "num_layers", (1, weights, scales, biases, [-1, 0, 0], *rest[1:])
    yield "num_layers", (1, weights, scales, biases, [1 << 62, 0, 0], *rest[1:])
    yield "expected 2 weights", (1, weights, scales, biases, [1, 0, 0], *rest[1:])
    yield "x_scale", (1, weights, scales, biases, ints, -1.0, zero_point, epilogue)
    yield "x_zero_point", (1, weights, scales, biases, ints, x_scale, 256, epilogue)
    yield "epilogue", (1, weights, scales, biases, ints, x_scale, zero_point, "relu")
    yield "no such step", (1, weights, scales, biases, ints, x_scale, zero_point, "no such step")


@pytest.mark.parametrize("cell", CELLS)
def test_damaged_states_are_refused(cell):
    m = random_module(cell, 9, 18, 2)
    for message, state in damaged_states(m):
        with pytest.raises(RuntimeError, match=message):
            m.pack()._get_method("__setstate__")(state)


@pytest.mark.parametrize("cell", CELLS)
def test_bad_packing_arguments(cell):
    m = random_module(cell, 9, 18, 2, x_scale=0.1)
    cases = [
        ("projections", {"weights": [m.weights[0]] * 6}),
        ("expected 4 weights", {"weights": m.weights[:3]}),
        ("projections", {"weights": [*m.weights[:3], torch.zeros(72, 7, dtype=torch.int8)]}),
        ("weights.0 .ih of layer 0. must be Char", {"weights": [w.int() for w in m.weights]}),
        ("must have 2 dimensions", {"weights": [w[0] for w in m.weights]}),
        ("weight_scales.0", {"scales": [s[:-1] for s in m.scales]}),
        ("finite and positive", {"scales": [s * torch.nan for s in m.scales]}),
        ("biases.1", {"biases": [m.biases[0], m.biases[1].double(), *m.biases[2:]]}),
        ("x_scale", {"x_scale": float("nan")}),
        ("x_scale", {"x_scale": 1e-60}),
        ("x_zero_point", {"x_zero_point": -1}),
        ("num_layers", {"layers": 0}),
        ("epilogue may only be", {"epilogue": "relu|quantize(0.1,0)"}),
    ]
    for message, changes in cases:
        with pytest.raises(RuntimeError, match=message):
            m.pack(**changes)
    assert m.pack(scales=[s[:1] for s in m.scales]) is not None  # one scale for all rows


@pytest.mark.parametrize("cell", CELLS)
def test_bad_call_arguments(cell):
    m = random_module(cell, 9, 18, 2, x_scale=0.1)
    x, (h0, c0) = random_input(m, 4, 3), random_states(m, 3)
    cases = [
        ("x must be Byte", (x.float(), h0, c0)),
        ("3 dimensions", (x[0, 0], h0, c0)),
        ("3 dimensions", (x[None], h0, c0)),
        ("9 features", (x[..., :-1], h0, c0)),
        ("sequence must not be empty", (x[:0], h0, c0)),
        ("h0 must have shape", (x, h0[:, :-1], c0)),
        ("h0 must have shape", (x, h0[:, 0], c0)),
        ("h0 must be a float32", (x, h0.double(), c0)),
        ("x must be Byte", (x.to("meta"), h0, c0)),
    ]
    if cell == "lstm":
        cases.append(("c0 must have shape", (x, h0, c0[:1])))
    for message, arguments in cases:
        if arguments[0].is_meta:
            continue
        with pytest.raises(RuntimeError, match=message):
            m.run(*arguments)
    run_time = random_module(cell, 9, 18, 2)
    with pytest.raises(RuntimeError, match="x must be Float"):
        run_time.run(x, h0, c0)


@pytest.mark.parametrize("cell", CELLS)
def test_equal_weights_are_kept_once(cell):
    def weights_of(m: Module):
        return [w.data_ptr() for w in m.pack(weights=[w.clone() for w in m.weights])
                ._get_method("__getstate__")()[1]]  # fmt: skip

    m = random_module(cell, 9, 18, 2, bidirectional=True)
    kept = m.pack()
    assert weights_of(m) == weights_of(m) == [w.data_ptr() for w in m.weights]
    del kept
