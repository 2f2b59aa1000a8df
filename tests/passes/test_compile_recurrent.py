"""compile of LSTMs and GRUs: the operator they become, where their inputs and states come from."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from compile_models import Gated, Speech
from compile_tools import Compiled
from ipex_quant import _C


@pytest.fixture(scope="module")
def models() -> dict[str, Compiled]:
    torch.manual_seed(0)
    made = {"speech": Speech, "gated": Gated}
    return {name: Compiled(make(), torch.randn(3, 7, 20)) for name, make in made.items()}


def recurrent_site(compiled: Compiled, **changes: object) -> list[_C.SiteParams]:
    """The sites of a model with another operand for the input of its lstm or gru."""
    sites = []
    for site in compiled.sites:
        if "/lstm/" in site.site or "/gru/" in site.site:
            operands = [_C.OperandParams("input", **changes)]
            site = _C.SiteParams(site.site, int8=True, operands=operands)
        sites.append(site)
    return sites


@pytest.mark.parametrize(("name", "op"), [("speech", "lstm"), ("gated", "gru")])
def test_recurrent_op_quantizes_its_input_itself(
    models: dict[str, Compiled], name: str, op: str
) -> None:
    compiled = models[name]
    sites = recurrent_site(compiled, mode="dynamic")
    module = torch.jit._recursive.wrap_cpp_module(_C.compile(compiled.normalized, sites)[0])
    kinds = [node.kind() for node in module.graph.nodes()]
    assert f"ipex_quant::{op}" in kinds
    assert "ipex_quant::quantize" not in kinds
    with torch.no_grad():
        wanted, got = compiled.model(*compiled.inputs), module(*compiled.inputs)
    assert ((wanted[0] - got[0]).norm() / wanted[0].norm()).item() < 0.03


@pytest.mark.parametrize("name", ["speech", "gated"])
def test_zero_states_are_not_made(models: dict[str, Compiled], name: str) -> None:
    """The kernels start from zero by themselves."""
    assert "aten::zeros" not in models[name].kinds
    assert models[name].error() < 0.03


def test_channel_factor_of_an_lstm() -> None:
    """Features of very different size: divided before they are quantized, the weights undo it."""
    torch.manual_seed(0)
    model = Speech().eval()
    factor = torch.logspace(-3, 3, 20)
    x = torch.randn(3, 7, 20) * factor
    compiled = Compiled(model, x)
    scale = 2 * float((x / factor).abs().max()) / 255
    sites = recurrent_site(compiled, scale=scale, zero_point=128, channel_factor=factor)
    module = torch.jit._recursive.wrap_cpp_module(_C.compile(compiled.normalized, sites)[0])
    with torch.no_grad():
        wanted, got = model(x)[0], module(x)[0]
    assert ((wanted - got).norm() / wanted.norm()).item() < 0.5 * compiled.error(x)


@pytest.mark.parametrize("both", [False, True])
def test_lstm_with_few_inputs_keeps_15_bits_of_their_weights(both: bool) -> None:
    """Large weights meet small features and small ones large features: 8 bits lose the latter."""

    class Narrow(torch.nn.Module):
        def __init__(self, units: int) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(4, units, 2, batch_first=True, bidirectional=both)
            size = torch.tensor([50.0, 50.0, 0.05, 0.05])
            with torch.no_grad():
                for name in ["weight_ih_l0", "weight_ih_l0_reverse"][: 1 + both]:
                    getattr(self.lstm, name).copy_(torch.randn(4 * units, 4) * size)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    def error(units: int) -> float:
        torch.manual_seed(0)
        model = Narrow(units).eval()
        x = torch.randn(2, 9, 4) * torch.tensor([2e-3, 2e-3, 20.0, 20.0])
        compiled = Compiled(model, x)
        sites = recurrent_site(compiled, mode="dynamic")
        module = torch.jit._recursive.wrap_cpp_module(_C.compile(compiled.normalized, sites)[0])
        assert "ipex_quant::lstm" in [node.kind() for node in module.graph.nodes()]
        with torch.no_grad():
            wanted, got = model(x), module(x)
        return ((wanted - got).norm() / wanted.norm()).item()

    assert _C.splits_input_weight(4, 16) and not _C.splits_input_weight(4, 15)
    assert error(16) < 0.02 < 0.1 < error(15)


@pytest.mark.parametrize(("name", "op"), [("speech", "lstm"), ("gated", "gru")])
def test_recurrent_op_hands_int8_on(models: dict[str, Compiled], name: str, op: str) -> None:
    counts = Counter(models[name].kinds)
    assert counts[f"ipex_quant::{op}"] == counts["ipex_quant::linear"] == 1
    assert counts["ipex_quant::quantize"] == 1
    assert not counts[f"aten::{op}"]


class Packed(nn.Module):
    """A recurrent layer on sequences of different length."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.rnn = kind(20, 24, num_layers=2, bidirectional=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        y, state = self.rnn(packed)
        return nn.utils.rnn.pad_packed_sequence(y, total_length=x.shape[0])[0], state[0]


@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_packed_sequences(kind: type[nn.LSTM] | type[nn.GRU], mode: str) -> None:
    """One operator for all lengths; padding gives zeros; other lengths run."""
    torch.manual_seed(0)
    compiled = Compiled(Packed(kind), torch.rand(9, 3, 20) - 0.5, torch.tensor([4, 9, 1]))
    name = kind.__name__.lower()
    module, report = compiled.module, compiled.report
    if mode == "dynamic":
        sites = [
            _C.SiteParams(s.site, int8=True, operands=[_C.OperandParams("input", mode="dynamic")])
            for s in compiled.sites
        ]
        module = torch.jit._recursive.wrap_cpp_module(_C.compile(compiled.normalized, sites)[0])
    assert f"ipex_quant::{name}_sequences" in [n.kind() for n in module.graph.nodes()]
    assert [r["became"] for r in report if r["op"] == f"aten::{name}"] == ["int8"]
    for lengths in ([4, 9, 1], [2, 2, 8, 5]):
        inputs = torch.rand(9, len(lengths), 20) - 0.5, torch.tensor(lengths)
        with torch.no_grad():
            for wanted, got in zip(compiled.model(*inputs), module(*inputs), strict=True):
                assert ((wanted - got).norm() / wanted.norm()).item() < 0.04
                assert torch.equal(wanted == 0, got == 0)


class GruWithState(nn.Module):
    """A GRU without biases; its state comes in and goes out, as in streaming."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 12, bias=False)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.gru(x, h)


def test_gru_with_its_state_passed_in_and_out() -> None:
    compiled = Compiled(GruWithState(), torch.randn(6, 2, 8), torch.rand(1, 2, 12))
    assert "ipex_quant::gru" in compiled.kinds
    assert compiled.error() < 0.03
    (row,) = [row for row in compiled.report if row["op"] == "aten::gru"]
    assert (row["module"], row["became"], row["kernel"]) == ("gru", "int8", "ipex_quant::gru")


def test_gru_kept_float_says_why() -> None:
    keep = {"gru/gru/0": "kept by the test"}
    inputs = torch.randn(6, 2, 8), torch.rand(1, 2, 12)
    compiled = Compiled(GruWithState(), *inputs, keep_float=keep)
    (row,) = [row for row in compiled.report if row["op"] == "aten::gru"]
    assert (row["became"], row["reason"]) == ("float", "kept by the test")


@pytest.mark.parametrize("kind", ["tanh", "relu"])
def test_recurrent_layers_of_plain_cells_stay_float(kind: str) -> None:
    """A graph has no int8 kernel for nn.RNN; the report says where there is one."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(8, 12, nonlinearity=kind)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rnn(x)[0]

    compiled = Compiled(Plain(), torch.randn(6, 2, 8))
    (row,) = [row for row in compiled.report if row["op"] == f"aten::rnn_{kind}"]
    assert (row["became"], row["reason"]) == (
        "float",
        "no int8 kernel for it in a trace; prepare() and convert() with a dynamic QConfig exchange "
        "nn.RNN",
    )


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_projected_lstm_stays_float_and_says_why() -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 8, proj_size=4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    compiled = Compiled(Projected(), torch.randn(3, 2, 8))
    row = next(row for row in compiled.report if row["op"].startswith("aten::lstm"))
    assert (row["became"], row["reason"]) == ("float", "it has projections (proj_size)")


def test_lstm_with_constant_state() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 8)
            self.register_buffer("h", torch.randn(1, 2, 8))
            self.register_buffer("c", torch.randn(1, 2, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x, (self.h, self.c))[0]

    compiled = Compiled(Constant(), torch.randn(3, 2, 8))
    assert "ipex_quant::lstm" in compiled.kinds
    assert compiled.error() < 0.03
