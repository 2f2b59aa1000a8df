"""IPEX's configure.json, tensor by tensor: SmoothQuant's factors, dtypes, counts, observers."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ipex_quant import QuantizationError, default_static_qconfig
from ipex_quant.quantization import convert, prepare
from ipex_summaries import load_ipex

QUINT8, QINT8, FLOAT = "torch.quint8", "torch.qint8", "torch.float32"
FACTOR = "smooth_quant_scaling_factor"


class Net(nn.Module):
    """Outliers in channel 3, which reach two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.LayerNorm(16)
        self.q, self.k, self.out = nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(8, 4)
        with torch.no_grad():
            self.norm.weight[3] = 100.0
            self.q.weight[:, 3] /= 100
            self.k.weight[:, 3] /= 100

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        return self.out(torch.tanh(self.q(y)) * self.k(y))


X = torch.randn(64, 16, generator=torch.Generator().manual_seed(3))


def affine(x: torch.Tensor) -> tuple[list[float], list[int]]:
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (high - low) / 255
    return [scale], [round(-low / scale)]


def linear(fqn: str, x: torch.Tensor, weight: torch.Tensor) -> dict[str, Any]:
    scale, zero = affine(x)
    return {
        "op_type": "<class 'torch.nn.modules.linear.Linear'>",
        "op_type_is_module": True,
        "fqn": fqn,
        "input_tensor_infos": [
            {"id": 0, "orig_dtype": FLOAT, "inf_dtype": QUINT8, "force_dtype": QUINT8}
            | {"scale": scale, "zero_point": zero}
        ],
        "weight_tensor_infos": [
            {"orig_dtype": FLOAT, "inf_dtype": QINT8, "zero_point": [0] * weight.shape[0]}
            | {"scale": (weight.abs().amax(1) / 127).tolist()}
        ],
        "output_tensor_infos": [],
        "activation_observer": {"name": "HistogramObserver", "dtype": QUINT8},
        "weight_observer": {"name": "PerChannelMinMaxObserver", "dtype": QINT8},
    }


@torch.no_grad()
def content(form: str) -> dict[str, Any]:
    """The file of the model as IPEX writes it: factors in a list, shared, or one per weight."""
    net = Net().eval()
    y = net.norm(X)
    middle = torch.tanh(net.q(y)) * net.k(y)
    infos = []
    weights = [net.q.weight, net.k.weight]
    shared = torch.stack([w.abs().amax(0) for w in weights]).amax(0)
    scales: dict[str, Any] = {}
    for i, (name, weight) in enumerate(zip("qk", weights, strict=True)):
        largest = weight.abs().amax(0) if form == "separate" else shared
        factor = (largest + 1e-6).sqrt() / (y.abs().amax(0) + 1e-6).sqrt()
        info = linear(name, y * factor, weight / factor)
        found = info["input_tensor_infos"][0]
        info["weight_tensor_infos"][0][FACTOR] = (1 / factor).tolist()
        scales[f"{i}_0"] = (found["scale"], found["zero_point"], factor.tolist())
        infos.append(info)
    for info in infos:
        found = info["input_tensor_infos"][0]
        if form == "list":
            found[FACTOR] = scales["0_0"][2]
        else:
            keys = ["0_0", "1_0"] if form == "separate" else ["0_0"]
            for n, name in enumerate(("scale", "zero_point", FACTOR)):
                found[name] = {key: scales[key][n] for key in keys}
    infos.append(linear("out", middle, net.out.weight))
    return file(infos)


def file(infos: list[dict[str, Any]]) -> dict[str, Any]:
    ops = {str(i): info for i, info in enumerate(infos)}
    return {" ": {"q_op_infos": ops, "nonq_op_infos": {}, "layer_output_infos": []}}


def ready(calibrate: bool = False) -> nn.Module:
    model = prepare(Net().eval(), default_static_qconfig, example_inputs=X)
    if calibrate:
        model(X)
    return model


def infos(data: dict[str, Any], number: int = 0) -> tuple[dict, dict, dict]:
    info = data[" "]["q_op_infos"][str(number)]
    return info, info["input_tensor_infos"][0], info["weight_tensor_infos"][0]


@torch.no_grad()
def error(model: nn.Module) -> float:
    expected = Net().eval()(X)
    return float((convert(model)(X) - expected).norm() / expected.norm())


@pytest.mark.parametrize("form", ["list", "shared", "separate"])
def test_factors_are_taken_over(form: str, tmp_path: Path) -> None:
    model = ready()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        sites = load_ipex(model, content(form), tmp_path)
    for name in "qk":
        site = sites[f"{name}/linear/0"]
        assert site["decision"] == "int8"
        factor = torch.tensor(site["operands"]["input"]["channel_factor"])
        assert factor.shape == (16,)
        assert factor.argmax() == 3
    assert sites["out/linear/0"]["operands"]["input"]["channel_factor"] is None
    same = sites["q/linear/0"]["operands"]["input"] == sites["k/linear/0"]["operands"]["input"]
    assert same == (form != "separate")
    assert error(model) < 0.015  # measured 0.010; 0.9 without the factors


def test_factors_of_another_operator_are_named(tmp_path: Path) -> None:
    class Doubled(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(super().forward(x))

    model = prepare(Doubled().eval(), default_static_qconfig, example_inputs=X)
    data = content("list")
    relu = {
        **copy.deepcopy(data[" "]["q_op_infos"]["0"]),
        "op_type": "<function relu at 0x7f1b209267a0>",
        "op_type_is_module": False,
        "fqn": "",
        "weight_tensor_infos": [],
    }
    data[" "]["q_op_infos"]["3"] = relu
    with pytest.warns(UserWarning, match="': relu 3 .it has a smooth_quant_scaling_factor, which"):
        sites = load_ipex(model, data, tmp_path)
    assert sites["/relu/0"]["decision"] == "float"


def _drop(data: dict) -> None:
    infos(data)[2].pop(FACTOR)


def _shorten(data: dict) -> None:
    infos(data)[1][FACTOR] = infos(data)[1][FACTOR][:5]


def _double(data: dict) -> None:
    infos(data)[1][FACTOR] = [2 * f for f in infos(data)[1][FACTOR]]


def _rename(data: dict) -> None:
    infos(data)[1][FACTOR] = {"7_0": [1.0] * 16, "8_0": [1.0] * 16}


def _forget_scales(data: dict) -> None:
    infos(data, 2)[2]["scale"] = [0.1] * 3


def _forget_zeros(data: dict) -> None:
    infos(data, 2)[1].pop("zero_point")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_drop, r"q: Linear 0: smooth_quant.* expected 16 numbers above 0 at the weight, got None"),
        (_shorten, r"q: Linear 0: smooth_quant.* expected 16 numbers above 0 at the input, got 5"),
        (_double, r"q: Linear 0: smooth_quant.* those of input and weight are not reciprocals"),
        (_rename, r"q: Linear 0: smooth_quant.* expected one for weight '0_0', got \['7_0', '8_0"),
        (_forget_scales, r"out: Linear 2: operand 'weight' .*expected 1 or 4 scales, got 3 scales"),
        (_forget_zeros, r"out: Linear 2: operand 'input' .*one zero point, got 1 scales and None"),
    ],
)
def test_damaged_entries_are_named(change: Any, words: str, tmp_path: Path) -> None:
    data = content("list")
    change(data)
    with pytest.raises(QuantizationError, match=words):
        load_ipex(ready(), data, tmp_path)


@pytest.mark.parametrize("calibrate", [False, True])
def test_zero_points_of_a_weight_are_named(calibrate: bool, tmp_path: Path) -> None:
    data = content("list")
    infos(data, 2)[2]["zero_point"] = [0, 5, 0, 0]
    with pytest.warns(UserWarning, match="'out: Linear 2 .its weight has zero points, int8 w"):
        sites = load_ipex(ready(calibrate), data, tmp_path)
    site = sites["out/linear/0"]
    assert site["decision"] == ("int8" if calibrate else "float")
    assert calibrate or "its weight has zero points" in site["reason"]


def test_a_float_weight_keeps_its_operator_float(tmp_path: Path) -> None:
    data = content("list")
    infos(data, 2)[2]["inf_dtype"] = FLOAT
    site = load_ipex(ready(), data, tmp_path)["out/linear/0"]
    assert (site["decision"], site["reason"]) == ("float", "it is float in IPEX's file")


def test_the_weights_of_an_lstm_stand_among_biases(tmp_path: Path) -> None:
    lstm = nn.Sequential(nn.LSTM(8, 8, num_layers=2)).eval()
    model = prepare(lstm, default_static_qconfig, example_inputs=torch.randn(3, 2, 8))
    info = linear("0", X, torch.ones(32, 8))
    info["op_type"] = "<class 'torch.nn.modules.rnn.LSTM'>"
    info["weight_tensor_infos"] = [
        {"inf_dtype": QINT8, "scale": [(n + 1) / 100] * 32, "zero_point": [0] * 32}
        for n in range(8)
    ]
    operands = load_ipex(model, file([info]), tmp_path)["0/lstm/0"]["operands"]
    got = {name: operand["scale"][0] for name, operand in operands.items() if name != "input"}
    assert got == {f"weights.{n}": (n + 1) / 100 for n in (0, 1, 4, 5)}


def test_observers_are_noted_and_edited_ones_named(tmp_path: Path) -> None:
    data = content("list")
    sites = load_ipex(ready(), data, tmp_path)
    observer = {"name": "ipex.HistogramObserver", "dtype": QUINT8}
    assert sites["out/linear/0"]["operands"]["input"]["observer"] == observer
    infos(data, 2)[0]["activation_observer"]["dtype"] = QINT8
    with pytest.warns(UserWarning, match="observer of another dtype .* taken: 'out: Linear 2'"):
        load_ipex(ready(), data, tmp_path)
