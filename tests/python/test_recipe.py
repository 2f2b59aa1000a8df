"""The recipe: what it decides and corrects, read from the summary."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QConfig, QuantizationError, default_static_qconfig, jit, observers, prepared
from site_entries import summary


def test_bias_correction_removes_the_mean_error() -> None:
    model = nn.Linear(32, 16)
    data = [torch.randn(64, 32) + 3 for _ in range(3)]  # rounding of weights meets a mean of 3
    entry = summary(model, data)["/linear/0"]
    x = torch.cat(data)
    scale = torch.tensor(entry["operands"]["weight"]["scale"])
    weight = (model.weight / scale[:, None]).round().clamp(-127, 127) * scale[:, None]
    error = ((x @ model.weight.T) - (x @ weight.T)).mean(0)
    left = error - torch.tensor(entry["bias_correction"])
    assert left.norm() < 0.3 * error.norm()


@pytest.mark.parametrize("way", ["prepare", "calibration_data"])
def test_bias_correction_can_be_turned_off(way: str) -> None:
    torch.manual_seed(0)
    model = nn.Linear(32, 16, bias=False).eval()
    data = [torch.randn(64, 32) + 3 for _ in range(3)]  # rounding of weights meets a mean of 3
    expected = torch.cat([model(x) for x in data]).mean(0)

    def quantized(on: bool) -> Any:
        if way == "calibration_data":
            trace = torch.jit.trace(model, data[0])
            return jit.quantize(trace, calibration_data=data, bias_correction=on)
        ready = ipex_quant.prepare(
            model, default_static_qconfig, data[0], bias_correction=on, bn_folding=False
        )
        for x in data:
            ready(x)
        (entry,) = prepared.session_of(ready).finalise(ready)["sites"]
        assert (entry["bias_correction"] is not None) == on
        return ipex_quant.convert(ready)

    left = []
    for on in (True, False):
        module = quantized(on)
        left.append((torch.cat([module(x) for x in data]).mean(0) - expected).norm())
    assert left[0] < 0.5 * left[1]


def test_a_calibrated_trace_keeps_its_corrections() -> None:
    ready = ipex_quant.prepare(nn.Linear(4, 4).eval(), default_static_qconfig, torch.ones(2, 4))
    ready(torch.randn(8, 4))
    trace = torch.jit.trace(ready, torch.ones(2, 4))
    with pytest.raises(ValueError, match=r"needs calibration_data.* give it to prepare\(\)"):
        jit.quantize(trace, bias_correction=False)


@pytest.mark.parametrize(("groups", "dilation", "stride"), [(1, 1, 2), (4, 1, 1), (2, 2, 1)])
def test_scales_of_small_convolutions_follow_their_windows(
    groups: int, dilation: int, stride: int
) -> None:
    """By the error of the output, bias aside, over all windows of smooth images."""
    torch.manual_seed(0)
    model = nn.Conv2d(4, 8, 3, stride, dilation, dilation, groups)
    coarse = torch.rand(3, 4, 5, 5)
    x = nn.functional.interpolate(coarse, size=(20, 20), mode="bilinear")
    entry = summary(model, [x])["/conv/0"]
    assert entry["operands"]["input"]["channel_factor"] is None
    weight = model.weight.detach()

    def error(scale: torch.Tensor) -> torch.Tensor:
        steps = scale[:, None, None, None]
        wrong = (weight / steps).round().clamp(-127, 127) * steps - weight
        y = nn.functional.conv2d(x, wrong, None, stride, dilation, dilation, groups)
        return (y - y.mean((0, 2, 3), keepdim=True)).square().sum((0, 2, 3))

    largest = error(weight.flatten(1).abs().amax(1) / 127)
    found = error(torch.tensor(entry["operands"]["weight"]["scale"]))
    assert (found <= largest * 1.001).all()
    assert found.sum() < 0.5 * largest.sum()


def test_no_correction_where_there_is_no_bias() -> None:
    entry = summary(nn.Linear(32, 4), [torch.randn(512, 32) for _ in range(3)])["/linear/0"]
    correction = entry["bias_correction"]
    assert correction is None or max(map(abs, correction)) < 0.01


@pytest.mark.parametrize("lasting", [True, False])
def test_factors_only_for_channels_that_stay_large(lasting: bool) -> None:
    """One large row per call has other channels large in each call: nothing to follow."""
    torch.manual_seed(0)
    large = 1 + 49 * (torch.arange(64) % 16 == 0)
    data = [torch.randn(128, 64) * (large if lasting else 1) for _ in range(4)]
    if not lasting:
        for x in data:
            x[0] *= 30
    entry = summary(nn.Linear(64, 32), data)["/linear/0"]
    assert (entry["operands"]["input"]["channel_factor"] is not None) == lasting


@pytest.mark.parametrize("kind", ["plain", "masked", "causal", "grouped"])
def test_probabilities_of_attention_are_observed(kind: str) -> None:
    """300 keys that count alike: at a step of 1/255 each had the probability 0 or 1/255."""

    class Attention(nn.Module):
        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            mask = torch.ones(q.shape[-2], k.shape[-2]).tril(200) > 0 if kind == "masked" else None
            options = {"is_causal": kind == "causal", "enable_gqa": kind == "grouped"}
            return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)

    def draw() -> tuple[torch.Tensor, ...]:
        heads = 2 if kind == "grouped" else 4
        query = 0.1 * torch.randn(2, 4, 300, 16)
        return query, torch.randn(2, heads, 300, 16), torch.randn(2, heads, 300, 16) + 1

    torch.manual_seed(0)
    data = [draw() for _ in range(2)]
    model = Attention().eval()
    ready = ipex_quant.prepare(model, default_static_qconfig, data[0])
    for inputs in data:
        ready(*inputs)
    (entry,) = [
        e for e in prepared.session_of(ready).finalise(ready)["sites"] if "sdpa" in e["site"]
    ]
    observed = entry["operands"]["probabilities"]
    assert observed["zero_point"] == 0
    if kind == "causal":  # the first query has the probability 1
        assert observed["scale"] > 0.5 / 255
        return
    assert observed["scale"] < 0.01 / 255
    inputs = draw()
    traced = [torch.jit.trace(m, data[0], check_trace=False) for m in (ready, model)]
    for trace, given in zip(traced, (None, data), strict=True):  # seen in the model, in the graph
        quantized = ipex_quant.jit.quantize(trace, calibration_data=given)
        got, expected = quantized(*inputs), model(*inputs)
        assert (got - expected).norm() < 0.03 * expected.norm()


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer = kind(8, 16, batch_first=True)
        nn.init.normal_(self.layer.weight_ih_l0, std=5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_input_of_many_magnitudes_takes_its_scale_at_run_time(kind: type) -> None:
    key = f"layer/{kind.__name__.lower()}/0"
    loudness = torch.logspace(-3, 1, 20)[None, :, None]
    data = [torch.randn(4, 20, 8) * loudness for _ in range(3)]
    assert summary(Recurrent(kind), data)[key]["operands"]["input"]["mode"] == "dynamic"
    even = [torch.randn(4, 20, 8) for _ in range(3)]
    assert summary(Recurrent(kind), even)[key]["operands"]["input"]["mode"] == "static"


def test_weights_of_a_gru_have_a_scale_per_gate_and_unit() -> None:
    entry = summary(Recurrent(nn.GRU), [torch.randn(4, 20, 8)])["layer/gru/0"]
    assert entry["decision"] == "int8"
    assert {len(entry["operands"][f"weights.{i}"]["scale"]) for i in (0, 1)} == {48}


def test_split_weights_of_an_lstm_are_not_clipped() -> None:
    """Their second int8 part takes up what rounding leaves, at most half a step."""

    class Narrow(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 16, batch_first=True, bidirectional=True)
            for name in ("weight_ih_l0", "weight_ih_l0_reverse"):
                nn.init.normal_(getattr(self.lstm, name))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    model = Narrow()
    data = [torch.randn(4, 20, 4) * torch.logspace(-3, 1, 20)[None, :, None] for _ in range(3)]
    operands = summary(model, data)["lstm/lstm/0"]["operands"]
    assert operands["input"]["mode"] == "dynamic"
    for name, weight in (
        ("weights.0", model.lstm.weight_ih_l0),
        ("weights.4", model.lstm.weight_ih_l0_reverse),
    ):
        full = weight.detach().abs().amax(1) / 127
        assert operands[name]["scale"] == pytest.approx(full.tolist(), rel=1e-6)


def test_a_site_that_int8_ruins_stays_float_with_the_figure() -> None:
    # The signal is the difference of two columns, far below what rounds them: no scale helps.
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 4, bias=False)
            with torch.no_grad():
                self.fc.weight[:, 0] = 1
                self.fc.weight[:, 1] = -1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    data = []
    for _ in range(3):
        column = torch.randn(64, 1)
        data.append(torch.cat([column, column + 1e-4 * torch.randn(64, 1)], 1))
    entry = summary(Model(), data)["fc/linear/0"]
    assert entry["decision"] == "float"
    assert "dB signal to noise" in entry["reason"]


def test_the_range_is_the_one_with_the_better_output() -> None:
    # A rare large value that carries all of the output must not be clipped.
    model = nn.Linear(8, 4, bias=False)
    with torch.no_grad():
        model.weight[:, :7] = 0
    data = []
    for _ in range(3):
        x = torch.randn(4096, 8)
        x[:, 7] = 0
        x[::512, 7] = 30.0
        data.append(x)
    scale = summary(model, data)["/linear/0"]["operands"]["input"]["scale"]
    assert scale * 255 > 30


def test_sites_that_read_one_weight_or_one_value_share_scales() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k = nn.Linear(8, 8), nn.Linear(8, 8)
            self.again = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.again(self.q(x) + self.k(x))
            return self.again(torch.tanh(y) * 7)

    sites = summary(Model(), [torch.randn(32, 8) for _ in range(3)])

    def operand(site: str, name: str) -> dict[str, Any]:
        return sites[site]["operands"][name]

    assert operand("q/linear/0", "input") == operand("k/linear/0", "input")
    first, second = "again/linear/0", "again/linear/1"
    assert operand(first, "weight") == operand(second, "weight")
    assert operand(first, "input") != operand(second, "input")


def test_what_cannot_be_quantized_says_why() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.register_buffer(
                "mask", torch.zeros(8, 8).masked_fill(torch.eye(8) > 0, -torch.inf)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            scores = self.fc(x) + self.mask
            weight = torch.softmax(scores, -1)
            zero = torch.relu(-weight)
            return nn.functional.linear(weight, weight) + torch.matmul(x, zero)

    sites = summary(Model(), [torch.randn(8, 8) for _ in range(3)])
    assert sites["fc/linear/0"]["decision"] == "int8"
    assert sites["/add/0"]["reason"] == "operand 'b': it held infinite values in calibration"
    assert "computed from the input, not a constant" in sites["/linear/0"]["reason"]
    assert sites["/matmul/0"]["reason"] == "operand 'b' was zero throughout calibration"


def test_other_dtypes_stay_float() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.double())

    entry = summary(Model(), [torch.randn(4, 8)])["fc/linear/0"]
    assert entry["reason"] == "operand 'input' is not a float32 tensor"


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_an_anchor_that_saw_nan_or_infinity_is_an_error(bad: str) -> None:
    data = [torch.randn(4, 8) for _ in range(2)]
    data[1][0, 0] = float(bad)
    with pytest.raises(QuantizationError, match="'/linear/0' operand 'input'"):
        summary(nn.Linear(8, 4), data)


def test_a_site_that_calibration_never_reached_is_an_error() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x) if x.shape[0] == 1 else torch.relu(x)

    ready = ipex_quant.prepare(Model().eval(), default_static_qconfig, torch.randn(1, 8))
    with pytest.raises(QuantizationError, match="'/relu/0', which the example inputs did"):
        ready(torch.randn(2, 8))
    with pytest.raises(QuantizationError, match="was not calibrated"):
        prepared.session_of(ready).finalise(ready)


def test_an_observer_that_gives_scale_zero_is_an_error() -> None:
    class Broken(observers.MinMaxObserver):
        def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(1), torch.zeros(1, dtype=torch.int64)

    config = QConfig(Broken, observers.WeightObserver)
    with pytest.raises(
        QuantizationError, match=r"'/linear/0', operand 'input': Broken gave scale 0"
    ):
        summary(nn.Linear(8, 4), [torch.randn(4, 8)], config)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_torch_observers_are_used_as_they_are() -> None:
    from torch.ao.quantization import observer as theirs

    config = QConfig(
        theirs.MinMaxObserver.with_args(qscheme=torch.per_tensor_affine, dtype=torch.quint8),
        theirs.PerChannelMinMaxObserver.with_args(
            dtype=torch.qint8, qscheme=torch.per_channel_symmetric
        ),
    )
    model = nn.ConvTranspose2d(4, 6, 3, groups=2)
    x = torch.randn(2, 4, 5, 5)
    operands = summary(model, [x], config)["/conv/0"]["operands"]
    low, high = float(x.min()), float(x.max())
    assert operands["input"]["scale"] == pytest.approx((high - low) / 255, rel=1e-5)
    assert operands["input"]["observer"] == "torch.MinMaxObserver"
    assert operands["weight"]["axis"] == 1
    largest = model.weight.detach().abs().amax((0, 2, 3))
    assert operands["weight"]["scale"] == pytest.approx((largest / 127.5).tolist(), rel=1e-5)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_recurrent_site_says_what_has_no_qparams(kind: Any) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = kind(8, 16, batch_first=True), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.rnn(x)[0])

    x = torch.rand(2, 5, 8) - 0.5
    ready = ipex_quant.prepare(Model().eval(), default_static_qconfig, x)
    ready(x)
    rnn, out = prepared.session_of(ready).finalise(ready)["sites"]
    assert list(rnn["operands"]) == ["input", "weights.0", "weights.1"]
    assert rnn["note"].startswith("the hidden state takes a scale per row at run time, the output")
    assert "note" not in out
    op = f"aten::{kind.__name__.lower()}"
    row = next(r for r in ipex_quant.report(ipex_quant.convert(ready)) if r.op == op)
    assert (row.became, row.reason) == (
        "int8",
        "its hidden state takes a scale per row at run time, its output that of its reader",
    )
