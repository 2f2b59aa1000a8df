"""Dynamic quantization through prepare and convert: every layer, eager, traced and scripted."""

from __future__ import annotations

import io
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao.quantization import (
    PerChannelMinMaxObserver,
    PlaceholderObserver,
)
from torch.ao.quantization import QConfig as TorchQConfig
from torch.nn.utils.rnn import pack_sequence

import ipex_quant
from ipex_quant.quantization import (
    QConfigMapping,
    convert,
    default_dynamic_qconfig,
    default_dynamic_qconfig_mapping,
    prepare,
)


class Wrap(nn.Module):
    """A layer inside a model, so that it can be scripted."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x)


def quantized(model: nn.Module, qconfig: Any = default_dynamic_qconfig) -> nn.Module:
    return convert(prepare(model.eval(), qconfig))


def torch_quantized(model: nn.Module) -> nn.Module:
    kinds = {nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, kinds, dtype=torch.qint8)


def first(result: Any) -> torch.Tensor:
    while not isinstance(result, torch.Tensor):
        result = result[0]
    return result


def flat(result: Any) -> list[torch.Tensor]:
    return [result] if isinstance(result, torch.Tensor) else [t for r in result for t in flat(r)]


LAYERS = {
    "linear": (lambda: nn.Linear(48, 40), (5, 48), "linear_dynamic"),
    "linear_no_bias": (lambda: nn.Linear(48, 40, bias=False), (2, 5, 48), "linear_dynamic"),
    "lstm": (lambda: nn.LSTM(24, 32, 2), (6, 3, 24), "lstm"),
    "lstm_both": (
        lambda: nn.LSTM(24, 32, 2, bidirectional=True, batch_first=True, dropout=0.5),
        (3, 6, 24),
        "lstm",
    ),
    "lstm_unbatched": (lambda: nn.LSTM(24, 32, bias=False), (6, 24), "lstm"),
    "gru": (lambda: nn.GRU(24, 32, 2, bidirectional=True, dropout=0.5), (6, 3, 24), "gru"),
    "gru_first": (lambda: nn.GRU(24, 32, batch_first=True), (3, 6, 24), "gru"),
    "rnn_tanh": (
        lambda: nn.RNN(24, 32, 2, bidirectional=True, batch_first=True),
        (3, 6, 24),
        "rnn",
    ),
    "rnn_relu": (lambda: nn.RNN(24, 32, nonlinearity="relu"), (6, 24), "rnn"),
    "lstm_cell": (lambda: nn.LSTMCell(24, 32), (3, 24), "lstm"),
    "lstm_cell_alone": (lambda: nn.LSTMCell(24, 32, bias=False), (24,), "lstm"),
    "gru_cell": (lambda: nn.GRUCell(24, 32), (3, 24), "gru"),
    "rnn_cell": (lambda: nn.RNNCell(24, 32), (3, 24), "rnn"),
    "rnn_cell_relu": (lambda: nn.RNNCell(24, 32, nonlinearity="relu"), (24,), "rnn"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_eager_traced_scripted_saved(name: str) -> None:
    make, shape, kernel = LAYERS[name]
    model = Wrap(make()).eval()
    x = torch.randn(shape)
    with torch.no_grad():
        expected, converted = model(x), quantized(model)
        got = converted(x)
        for a, b in zip(flat(got), flat(expected), strict=True):
            assert a.shape == b.shape
            assert 0 < (a - b).norm() / b.norm() < 0.03
        traced = torch.jit.freeze(torch.jit.trace(converted, x))
        scripted = torch.jit.freeze(torch.jit.script(converted))
    for module in (traced, scripted):
        file = io.BytesIO()
        torch.jit.save(module, file)
        file.seek(0)
        loaded = torch.jit.load(file)
        for way in (module, loaded):
            assert f"ipex_quant::{kernel}" in str(way.inlined_graph)
            for a, b in zip(flat(way(x)), flat(got), strict=True):
                assert torch.equal(a, b)
    rows = list(ipex_quant.report(converted))
    assert [(r.module, r.became, r.kernel) for r in rows] == [
        ("layer", "int8", f"ipex_quant::{kernel}")
    ]


def test_calls_before_the_trace_change_nothing() -> None:
    """Calibration would take the mean error of the outputs off the bias."""
    torch.manual_seed(0)
    model, x = nn.Linear(8, 16).eval(), torch.randn(5, 8)
    prepared = prepare(model, default_dynamic_qconfig, x)
    for _ in range(3):
        prepared(torch.randn(5, 8))
    traced = ipex_quant.jit.quantize(torch.jit.trace(prepared, x))
    assert torch.equal(traced(x), convert(prepared)(x))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_states_and_packed_sequences(kind: Any) -> None:
    layer = kind(12, 16, 2, bidirectional=True).eval()
    converted = quantized(layer)
    sequences = [torch.randn(n, 12) for n in (3, 8, 1, 8)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    h = torch.randn(4, 4, 16)
    hx = (h, torch.randn(4, 4, 16)) if kind is nn.LSTM else h
    for arguments in ((packed,), (packed, hx)):
        expected, got = layer(*arguments), converted(*arguments)
        assert torch.equal(got[0].batch_sizes, expected[0].batch_sizes)
        assert (got[0].data - expected[0].data).norm() / expected[0].data.norm() < 0.03
        for a, b in zip(flat(got[1]), flat(expected[1]), strict=True):
            assert (a - b).norm() / b.norm() < 0.03
    whole = converted(packed, hx)[1]
    alone = converted(
        sequences[1][:, None], (hx[0][:, 1:2], hx[1][:, 1:2]) if kind is nn.LSTM else h[:, 1:2]
    )[1]
    for a, b in zip(flat(whole), flat(alone), strict=True):
        assert torch.equal(a[:, 1], b[:, 0])


class Narrow(nn.Module):
    """Large weights meet small features and small ones large features: 8 bits lose the latter."""

    def __init__(self, kind: Any, units: int, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = kind(4, units, **options)
        with torch.no_grad():
            for name, weight in self.layer.named_parameters():
                if name in ("weight_ih", "weight_ih_l0", "weight_ih_l0_reverse"):
                    weight.copy_(torch.randn(weight.shape) * torch.tensor([50, 50, 0.05, 0.05]))

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x)

    @staticmethod
    def inputs(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, 4) * torch.tensor([2e-3, 2e-3, 20.0, 20.0])


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_few_inputs_keep_15_bits_of_their_weights(kind: Any, both: bool) -> None:
    def error(units: int) -> float:
        model = Narrow(kind, units, num_layers=2, bidirectional=both).eval()
        x, converted = model.inputs(9, 2), quantized(model)
        compiled = ipex_quant.jit.quantize(torch.jit.trace(model, x), default_dynamic_qconfig)
        wanted, got = model(x), converted(x)
        for a, b in zip(flat(got), flat(compiled(x)), strict=True):
            assert torch.equal(a, b)
        packed = pack_sequence([x[:, 0], x[:6, 1]])
        sequences = converted.layer(packed)[0]
        padded, _ = nn.utils.rnn.pad_packed_sequence(sequences)
        assert torch.equal(padded[:, 0], got[0][:, 0])
        for way in (torch.jit.trace(converted, x), torch.jit.script(converted)):
            assert torch.equal(way(x)[0], got[0])
        return float((wanted[0] - got[0]).norm() / wanted[0].norm())

    with torch.no_grad():
        assert error(16) < 0.05 < 0.3 < error(15)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell])
def test_few_inputs_of_a_cell_keep_15_bits_of_their_weights(cell: Any) -> None:
    def error(units: int) -> float:
        model = Narrow(cell, units).eval()
        x, converted = model.inputs(32), quantized(model)
        wanted, got = first(model(x)), first(converted(x))
        assert torch.equal(first(converted(x[0])), got[0])
        assert torch.equal(first(torch.jit.script(converted)(x)), got)
        return float((wanted - got).norm() / wanted.norm())

    with torch.no_grad():
        assert error(16) < 0.05 < 0.3 < error(15)


def test_a_wrong_number_of_few_inputs_is_named() -> None:
    for kind, shape in ((nn.LSTM, (9, 2, 5)), (nn.GRU, (9, 2, 5)), (nn.LSTMCell, (2, 5))):
        converted = quantized(Narrow(kind, 16))
        for way in (converted, torch.jit.script(converted)):
            with pytest.raises(
                (RuntimeError, torch.jit.Error), match="x must have 4 features in its last dim"
            ):
                way(torch.randn(shape))


def test_packing_inside_a_trace_and_a_script() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(6, 8, batch_first=True)

        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True, enforce_sorted=False
            )
            return nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0]

    converted = quantized(Padded())
    one = (torch.randn(3, 9, 6), torch.tensor([4, 9, 2]))
    other = (torch.randn(5, 7, 6), torch.tensor([1, 7, 2, 2, 3]))
    traced = torch.jit.trace(converted, one, check_trace=False)
    scripted = torch.jit.script(converted)
    for inputs in (one, other):
        assert torch.equal(traced(*inputs), converted(*inputs))
        assert torch.equal(scripted(*inputs), converted(*inputs))


def test_control_flow_and_any_length() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.one, self.other = nn.LSTMCell(8, 8), nn.Linear(8, 4), nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = c = torch.zeros(x.size(1), 8)
            for t in range(x.size(0)):
                h, c = self.cell(x[t], (h, c))
            return self.one(h) if float(x.sum()) > 0 else self.other(h)

    model = Model().eval()
    for example in (None, torch.ones(2, 3, 8)):
        ready = prepare(model, default_dynamic_qconfig_mapping, example_inputs=example)
        for x in (torch.ones(2, 3, 8), -torch.ones(5, 1, 8)):
            assert torch.equal(ready(x), model(x))
        converted = convert(ready)
        scripted = torch.jit.script(converted)
        for x in (torch.ones(2, 3, 8), -torch.ones(5, 1, 8)):
            assert (converted(x) - model(x)).abs().max() < 0.02
            assert torch.equal(scripted(x), converted(x))


class Mlp(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.GELU())
        self.append(nn.Linear(512, 64))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (Mlp, (16, 256)),
        (lambda: nn.LSTM(64, 128, 2), (30, 4, 64)),
        (lambda: nn.GRU(64, 128, 2), (30, 4, 64)),
        (lambda: nn.LSTMCell(64, 128), (16, 64)),
        (lambda: nn.GRUCell(64, 128), (16, 64)),
        (lambda: nn.RNNCell(64, 128), (16, 64)),
    ],
)
@pytest.mark.parametrize("qconfig", ["default", "torch"])
def test_error_is_no_larger_than_torchs(make: Any, shape: tuple, qconfig: str) -> None:
    """Over several inputs, the batch holding rows of different size."""
    model = Wrap(make()).eval()
    torchs = TorchQConfig(
        activation=PlaceholderObserver.with_args(dtype=torch.quint8, is_dynamic=True),
        weight=PerChannelMinMaxObserver.with_args(
            dtype=torch.qint8, qscheme=torch.per_channel_symmetric
        ),
    )
    chosen = default_dynamic_qconfig if qconfig == "default" else torchs
    ours, theirs = quantized(model, chosen), torch_quantized(model)
    own = other = 0.0
    with torch.no_grad():
        for _ in range(4):
            x = torch.randn(shape) * torch.linspace(0.2, 2, shape[0]).view(
                -1, *[1] * (len(shape) - 1)
            )
            expected = first(model(x))
            own += float((first(ours(x)) - expected).square().sum())
            other += float((first(theirs(x)) - expected).square().sum())
    assert own <= other


def test_shared_layers_and_tied_weights() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(8, 8)
            self.b = self.a
            self.c = nn.Linear(8, 8)
            self.c.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(self.b(self.a(x)))

    model = Model().eval()
    converted = quantized(model)
    assert converted.a is converted.b and converted.a is not converted.c
    x = torch.randn(4, 8)
    assert (converted(x) - model(x)).abs().max() < 0.05


@pytest.mark.filterwarnings("ignore:.*nested tensors")
def test_transformer_layers_leave_the_float_fast_path() -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    converted = quantized(model)
    x, mask = torch.randn(2, 5, 32), torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with torch.no_grad():
        for keywords in ({}, {"src_key_padding_mask": mask}):
            expected, got = model(x, **keywords), converted(x, **keywords)
            shape = got[1, :3] if keywords else got[1]
            assert 0 < (shape - expected[1, : len(shape)]).abs().max() < 0.1
    became = {row.module: row for row in ipex_quant.report(converted)}
    assert became["layers.0.linear1"].became == "int8"
    assert "projections are parameters" in became["layers.0.self_attn"].reason


def test_what_stays_float_has_a_reason() -> None:
    class Special(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 2

    model = nn.ModuleDict(
        {
            "conv": nn.Conv1d(3, 3, 1),
            "kept": nn.Linear(4, 4),
            "special": Special(4, 4),
            "projected": nn.LSTM(4, 8, proj_size=2),
            "doubled": nn.Linear(4, 4).double(),
            "nan": nn.Linear(4, 4),
            "hooked": nn.Linear(4, 4),
            "norm": nn.LayerNorm(4),
            "done": nn.Linear(4, 4),
        }
    ).eval()
    model["nan"].weight.data[0, 0] = torch.nan
    model["hooked"].register_forward_hook(lambda *_: None)
    mapping = QConfigMapping().set_global(default_dynamic_qconfig).set_module_name("kept", None)
    rows = {row.module: row for row in ipex_quant.report(quantized(model, mapping))}
    assert set(rows) == set(model) - {"norm"}
    for name, words in {
        "conv": "covers linear and recurrent layers",
        "kept": "kept float by set_module_name('kept')",
        "special": "subclass of nn.Linear",
        "projected": "projections (proj_size)",
        "doubled": "its weight is torch.float64",
        "nan": "NaN",
        "hooked": "hooks",
    }.items():
        assert rows[name].became == "float" and words in rows[name].reason
    assert rows["done"].became == "int8"
