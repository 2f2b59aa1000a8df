"""IPEX's configure.json: scales and float operators are taken over, what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QuantizationError, default_static_qconfig
from ipex_quant.quantization import convert, prepare
from ipex_summaries import load_ipex

QUINT8, FLOAT = "torch.quint8", "torch.float32"
ADD = "<method 'add' of 'torch._C.TensorBase' objects>"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.fc, self.last = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x).mean((2, 3))
        return torch.matmul(torch.relu(self.fc(y)).add(y), self.last.weight.t()) + self.last.bias


def tensor(scale: float | None, zero: int = 0, dtype: str = QUINT8) -> dict[str, Any]:
    info: dict[str, Any] = {"id": 0, "orig_dtype": FLOAT, "inf_dtype": dtype, "force_dtype": dtype}
    return info if scale is None else {**info, "scale": [scale], "zero_point": [zero]}


def module(kind: str, fqn: str, *inputs: dict, weight: list[float] | None = None) -> dict[str, Any]:
    return {
        "op_type": f"<class 'torch.nn.modules.{kind}'>",
        "op_type_is_module": True,
        "fqn": fqn,
        "input_tensor_infos": list(inputs),
        "weight_tensor_infos": [] if weight is None else [{"scale": weight, "zero_point": [0] * 8}],
        "output_tensor_infos": [],
    }


def function(kind: str, *inputs: dict) -> dict[str, Any]:
    return {
        "op_type": kind,
        "op_type_is_module": False,
        "fqn": "",
        "input_tensor_infos": list(inputs),
        "weight_tensor_infos": [],
        "output_tensor_infos": [],
    }


def layer(*infos: dict[str, Any]) -> dict[str, Any]:
    return {
        "q_op_infos": {str(i): info for i, info in enumerate(infos)},
        "nonq_op_infos": {},
        "layer_output_infos": [],
    }


def content() -> dict[str, Any]:
    return {
        " ": layer(
            module("linear.Linear", "fc", tensor(0.03, 128), weight=[0.004] * 8),
            function("<built-in method relu of type object at 0x7f6a>", tensor(0.01)),
            function(ADD, tensor(0.02), tensor(0.03)),
            function(ADD, tensor(0.05, dtype=FLOAT), tensor(0.01, dtype=FLOAT)),
        ),
        "body": layer(
            module("conv.Conv2d", "body.0", tensor(0.02, 100), weight=[0.002] * 8),
            module("activation.ReLU", "body.1", tensor(None, dtype=FLOAT)),
            module("conv.Conv2d", "body.2", tensor(0.05, dtype=FLOAT), weight=[0.01] * 8),
        ),
    }


X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def ready(calibrate: bool = True) -> nn.Module:
    model = prepare(Net().eval(), default_static_qconfig, example_inputs=X)
    if calibrate:
        model(X)
    return model


def test_qparams_and_decisions_are_taken_over(tmp_path: Path) -> None:
    model = ready()
    sites = load_ipex(model, content(), tmp_path)
    conv = sites["body.0/conv/0"]
    assert conv["decision"] == "int8"
    assert (conv["operands"]["input"]["scale"], conv["operands"]["input"]["zero_point"]) == (
        0.02,
        100,
    )
    assert conv["operands"]["weight"]["scale"] == [0.002] * 8
    assert sites["fc/linear/0"]["operands"]["weight"]["scale"] == [0.004] * 8
    assert [sites["/add/0"]["operands"][n]["scale"] for n in "ab"] == [0.02, 0.03]
    assert sites["/relu/0"]["operands"]["input"]["scale"] == 0.01
    assert sites["body.2/conv/0"]["decision"] == "float"
    assert sites["body.2/conv/0"]["reason"] == "it is float in IPEX's file"
    assert sites["/matmul/0"]["decision"] == "int8"  # not in the file: our calibration's
    rows = {row.module: row for row in ipex_quant.report(convert(model))}
    assert rows["body.0"].became == rows["fc"].became == "int8"
    assert rows["body.2"].became == "float"


def test_without_calibration_the_rest_stays_float(tmp_path: Path) -> None:
    model = ready(calibrate=False)
    sites = load_ipex(model, content(), tmp_path)
    assert sites["/matmul/0"]["reason"] == "IPEX's file has no entry for it"
    rows = {row.module: row for row in ipex_quant.report(convert(model)) if row.module}
    assert rows["body.0"].became == rows["fc"].became == "int8"
    assert 0 < (convert(model)(X) - Net.forward(model, X)).abs().max() < 1


def test_its_decisions_hold_in_later_calibrations(tmp_path: Path) -> None:
    model = ready(calibrate=False)
    load_ipex(model, content(), tmp_path)
    model(X)
    model.save_qconf_summary(tmp_path / "ours.json")
    sites = {s["site"]: s for s in json.loads((tmp_path / "ours.json").read_text())["sites"]}
    assert sites["body.2/conv/0"]["reason"] == "it is float in IPEX's file"
    assert sites["/matmul/0"]["decision"] == "int8"  # not in the file
    assert sites["body.0/conv/0"]["operands"]["input"]["scale"] != 0.02


def test_signed_activations(tmp_path: Path) -> None:
    data = content()
    data["body"]["q_op_infos"]["0"]["input_tensor_infos"] = [tensor(0.02, -5, "torch.qint8")]
    sites = load_ipex(ready(), data, tmp_path)
    assert sites["body.0/conv/0"]["operands"]["input"]["zero_point"] == 123


def test_nested_names_and_calls_in_order(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ModuleDict({"deep": nn.ReLU()})
            self.fc = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.fc(x))

    model = prepare(Twice().eval(), default_static_qconfig, example_inputs=torch.randn(2, 8))
    infos = [module("linear.Linear", "fc", tensor(s, 9), weight=[0.01] * 8) for s in (0.1, 0.2)]
    sites = load_ipex(model, {" ": layer(*infos)}, tmp_path)
    scales = [sites[f"fc/linear/{n}"]["operands"]["input"]["scale"] for n in (0, 1)]
    assert scales == [0.1, 0.2]


@pytest.mark.parametrize("bias", [True, False])
def test_an_lstm_of_two_layers(bias: bool, tmp_path: Path) -> None:
    """IPEX lists what nn.LSTM does, biases too: w_ih, w_hh, b_ih, b_hh of each layer."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 8, 2, bias=bias)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    x = torch.randn(5, 2, 8)
    model = prepare(Model().eval(), default_static_qconfig, example_inputs=x)
    info = module("rnn.LSTM", "lstm", tensor(0.03, 128), tensor(None), tensor(None))
    count = 8 if bias else 4
    scales = [[0.001 * (n + 1)] * (32 if n % 4 < 2 or not bias else 1) for n in range(count)]
    info["weight_tensor_infos"] = [{"scale": s, "zero_point": [0] * len(s)} for s in scales]
    (site,) = load_ipex(model, {" ": layer(info)}, tmp_path).values()
    assert (site["site"], site["decision"]) == ("lstm/lstm/0", "int8")
    found = {name: operand["scale"] for name, operand in site["operands"].items()}
    kept = [0, 1, 4, 5] if bias else [0, 1, 2, 3]
    assert found == {"input": 0.03, **{f"weights.{n}": scales[n] for n in kept}}
    row = next(row for row in ipex_quant.report(convert(model)) if row.op == "aten::lstm")
    assert row.became == "int8"


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    data = content()
    data["gone"] = layer(module("linear.Linear", "gone.fc", tensor(0.1), weight=[0.1]))
    data[" "]["q_op_infos"]["4"] = function("<function interaction at 0x7f>", tensor(0.1))
    with pytest.warns(
        UserWarning, match=r"fit no operator.*': interaction 4', 'gone.fc: Linear 0'"
    ):
        load_ipex(ready(), data, tmp_path)


def test_another_model(tmp_path: Path) -> None:
    data = {" ": layer(module("linear.Linear", "nothing", tensor(0.1), weight=[0.1]))}
    with pytest.raises(QuantizationError, match="none of its operators is in the prepared model"):
        load_ipex(ready(), data, tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda info: info.pop("op_type"), "is damaged at the operators of 'body'"),
        (
            lambda info: info["input_tensor_infos"][0].update(scale=[0.1, 0.2]),
            "expected one scale and one zero point",
        ),
        (
            lambda info: info["input_tensor_infos"][0].update(scale=[-1.0]),
            "'scale' must be a finite number above 0",
        ),
        (
            lambda info: info["input_tensor_infos"][0].update(zero_point=[300]),
            "'zero_point' must be a whole number in 0..255",
        ),
        (
            lambda info: info["weight_tensor_infos"][0].update(scale=["x"]),
            "'scale' must be a list of finite numbers above 0",
        ),
    ],
)
def test_a_damaged_file(change: Any, words: str, tmp_path: Path) -> None:
    data = content()
    change(data["body"]["q_op_infos"]["0"])
    with pytest.raises(QuantizationError, match=words):
        load_ipex(ready(), data, tmp_path)


class Sums(nn.Module):
    """IPEX records the last of the three sums alone: no number, no sum in place."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.tanh(x)
        y = y + 1.0
        y += x
        return y + self.fc(y)


ROWS = torch.randn(4, 8, generator=torch.Generator().manual_seed(4))
FC = module("linear.Linear", "fc", tensor(0.03, 128), weight=[0.004] * 8)


def sums() -> nn.Module:
    model = prepare(Sums().eval(), default_static_qconfig, example_inputs=ROWS)
    model(ROWS)
    return model


def test_only_what_ipex_records_is_counted(tmp_path: Path) -> None:
    model = sums()
    model.save_qconf_summary(qconf_summary=str(tmp_path / "own.json"))
    own = {s["site"]: s for s in json.loads((tmp_path / "own.json").read_text())["sites"]}
    sites = load_ipex(
        model, {" ": layer(FC, function(ADD, tensor(0.5, 9), tensor(0.25, 7)))}, tmp_path
    )
    assert [sites["/add/2"]["operands"][n]["scale"] for n in "ab"] == [0.5, 0.25]
    assert [sites[f"/add/{n}"] for n in (0, 1)] == [own[f"/add/{n}"] for n in (0, 1)]


def test_other_counts_are_no_order(tmp_path: Path) -> None:
    sums_of_file = [function(ADD, tensor(s, 9), tensor(s, 7)) for s in (0.5, 0.25)]
    with pytest.warns(
        UserWarning,
        match=r"left out: ': add 1 \(the file has 2 such calls there, the model 1\)', ': add 2 ",
    ):
        sites = load_ipex(sums(), {" ": layer(FC, *sums_of_file)}, tmp_path)
    assert sites["/add/2"]["operands"]["a"]["scale"] not in (0.5, 0.25)


def test_a_module_in_several_parents_has_no_order(tmp_path: Path) -> None:
    class Half(nn.Module):
        def __init__(self, fc: nn.Module) -> None:
            super().__init__()
            self.fc = fc

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)

    fc = nn.Linear(8, 8)
    model = nn.Sequential(Half(fc), Half(fc), nn.Linear(8, 8)).eval()
    model = prepare(model, default_static_qconfig, example_inputs=ROWS)
    model(ROWS)
    info = module("linear.Linear", "1.fc", tensor(0.03, 128), weight=[0.004] * 8)
    last = module("linear.Linear", "2", tensor(0.03, 128), weight=[0.004] * 8)
    with pytest.warns(UserWarning, match=r"'1.fc: Linear 0 \(it is called in several modules\)'"):
        load_ipex(model, {"0": layer(info), "1": layer(info), " ": layer(last)}, tmp_path)


def test_relu_in_place_is_a_function_or_a_method(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(x.clone().sub(1).relu_() - 2)
            return nn.functional.relu(y - 3, inplace=True)

    relu = "<function relu at 0x7f1b209267a0>"
    for scales, expected in (
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]),
        ([0.2], [None, 0.2, None]),
        ([0.2, 0.3], [None, None, None]),
    ):
        model = prepare(Two().eval(), default_static_qconfig, example_inputs=ROWS)
        infos = [function(relu, tensor(s)) for s in scales]
        pool = module("linear.Linear", "gone", tensor(0.1), weight=[0.1])
        if expected == [None, None, None]:
            with pytest.raises(QuantizationError, match="none of its operators"):
                load_ipex(model, {" ": layer(*infos, pool)}, tmp_path)
            continue
        sites = load_ipex(model, {" ": layer(*infos)}, tmp_path)
        got = [sites[f"/relu/{n}"]["operands"]["input"]["scale"] for n in range(3)]
        assert got == expected
