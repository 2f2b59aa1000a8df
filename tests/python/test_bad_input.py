"""Everything that IPEX ignored, let pass or left undefined is an error with a way out."""

from __future__ import annotations

import json
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver

from ipex_quant import QuantizationError, jit
from ipex_quant.quantization import (
    QConfig,
    QConfigMapping,
    convert,
    default_dynamic_qconfig,
    default_static_qconfig,
    prepare,
)

X = torch.randn(4, 8)


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


def calibrated() -> nn.Module:
    ready = prepare(model(), default_static_qconfig, X)
    ready(X)
    return ready


def script_module(how: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(model()) if how == "scripted" else torch.jit.trace(model(), X)
        return torch.jit.freeze(made) if how == "frozen" else made


@pytest.mark.parametrize("how", ["scripted", "traced", "frozen"])
@pytest.mark.parametrize("qconfig", [default_static_qconfig, default_dynamic_qconfig])
def test_a_script_module_is_no_model_to_prepare(how: str, qconfig: Any) -> None:
    with pytest.raises(TypeError, match=r"got a ScriptModule; .* with\s+ipex_quant.jit.quantize"):
        prepare(script_module(how), qconfig, X)


@pytest.mark.parametrize("value", [None, "path", model])
def test_only_a_module_can_be_prepared(value: Any) -> None:
    with pytest.raises(TypeError, match=r"prepare expects an nn.Module"):
        prepare(value, default_static_qconfig, X)


@pytest.mark.parametrize("qconfig", [None, "default", {"": default_static_qconfig}, MinMaxObserver])
def test_a_wrong_configuration(qconfig: Any) -> None:
    with pytest.raises(TypeError, match="must be a QConfig or a QConfigMapping"):
        prepare(model(), qconfig, X)


WEIGHT = PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_channel_symmetric)
ACTIVATION = MinMaxObserver.with_args(dtype=torch.quint8, qscheme=torch.per_tensor_affine)


@pytest.mark.parametrize(
    ("activation", "weight", "words"),
    [
        (WEIGHT, WEIGHT, "per-channel activations are not supported"),
        (MinMaxObserver.with_args(dtype=torch.qint32), WEIGHT, "dtype must be"),
        (ACTIVATION, ACTIVATION, "weight observer of the global rule: dtype must be"),
        (
            ACTIVATION,
            MinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_tensor_affine),
            "qscheme must be torch.per_tensor_symmetric or torch.per_channel_symmetric",
        ),
        (
            ACTIVATION,
            PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_channel_affine),
            "qscheme must be torch.per_tensor_symmetric or torch.per_channel_symmetric",
        ),
        (MinMaxObserver(), WEIGHT, "must be an observer class or the result of its with_args"),
        (nn.Identity, WEIGHT, "Identity has no method calculate_qparams"),
        (None, WEIGHT, "must be an observer class"),
    ],
)
def test_what_the_kernels_cannot_do(activation: Any, weight: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prepare(model(), QConfig(activation=activation, weight=weight), X)


def test_examples_exclude_each_other_before_anything_happens() -> None:
    given = model()
    before = [p.clone() for p in given.parameters()]
    with pytest.raises(ValueError, match="example_inputs or example_kwarg_inputs, not both"):
        prepare(given, default_static_qconfig, X, True, True, {"input": X})
    with pytest.raises(TypeError, match="example_kwarg_inputs must be a dict"):
        prepare(given, default_static_qconfig, example_kwarg_inputs=[X], inplace=True)
    with pytest.raises(TypeError, match="example_inputs must be a tensor"):
        prepare(given, default_static_qconfig, 3, inplace=True)
    with pytest.raises(ValueError, match="static quantization needs example_inputs"):
        prepare(given, default_static_qconfig, inplace=True)
    assert type(given) is nn.Sequential
    assert all(torch.equal(p, b) for p, b in zip(given.parameters(), before, strict=True))


def test_examples_that_do_not_fit() -> None:
    with pytest.raises(
        ValueError, match=r"does not run on the example inputs \(torch.float32 \[4, 9"
    ):
        prepare(model(), default_static_qconfig, torch.randn(4, 9))


class OfSequences(nn.Module):
    """Takes its sequences packed."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 16)

    def forward(self, x: Any, *more: Any) -> Any:
        return self.rnn(more[0]["packed"] if more else x)[0]


@pytest.mark.parametrize("place", ["alone", "in a tuple", "by keyword", "in a dict"])
def test_a_packed_sequence_is_an_argument_of_dynamic_models_only(place: str) -> None:
    sequences = nn.utils.rnn.pack_sequence([torch.randn(n, 8) for n in (5, 3)])
    example: dict[str, Any] = {
        "alone": {"example_inputs": sequences},
        "in a tuple": {"example_inputs": (sequences,)},
        "by keyword": {"example_kwarg_inputs": {"x": sequences}},
        "in a dict": {"example_inputs": (X, {"packed": sequences})},
    }[place]
    name = "more" if place == "in a dict" else "x"
    with pytest.raises(
        TypeError, match=rf"argument '{name}' .* is a PackedSequence.* inside of it"
    ):
        prepare(OfSequences().eval(), default_static_qconfig, **example)
    converted = convert(prepare(OfSequences().eval(), default_dynamic_qconfig, **example))
    assert converted(sequences).data.shape == (8, 16)


def test_training_mode() -> None:
    with pytest.raises(
        ValueError, match=r"training mode \('the model itself'.*call model.eval\(\)"
    ):
        prepare(model().train(), default_static_qconfig, X)


@pytest.mark.parametrize(
    "rule",
    [
        lambda m: m.set_module_name("1.linear", None),
        lambda m: m.set_module_name_object_type_order("1.linear", nn.Linear, 0, None),
    ],
)
def test_a_rule_for_a_module_that_is_not_there(rule: Any) -> None:
    mapping = rule(QConfigMapping().set_global(default_static_qconfig))
    with pytest.raises(ValueError, match=r"names the module '1.linear', which the model does not"):
        prepare(model(), mapping, X)


def test_no_calibration() -> None:
    ready = prepare(model(), default_static_qconfig, X)
    for use in (
        lambda: convert(ready),
        lambda: ready.save_qconf_summary(qconf_summary="never.json"),
        lambda: torch.jit.trace(ready, X),
    ):
        with pytest.raises(QuantizationError, match="was not calibrated"):
            use()
    assert not Path("never.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is corrupted, it is not JSON"),
        ("{", "is corrupted, it is not JSON"),
        ("[]", "is not a summary of ipex_quant"),
        ('{"schema": "other"}', "is not a summary of ipex_quant"),
        ('{"schema": "ipex_quant.summary", "version": 99}', "reads versions up to"),
        ('{"schema": "ipex_quant.summary", "version": 1}', "has no list 'sites'"),
    ],
)
def test_foreign_and_broken_summaries(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "configure.json").write_text(text)
    with pytest.raises(QuantizationError, match=words):
        calibrated().load_qconf_summary(qconf_summary=str(tmp_path / "configure.json"))


def test_a_missing_summary() -> None:
    with pytest.raises(FileNotFoundError, match=r"nonexistent\.json"):
        calibrated().load_qconf_summary(qconf_summary="nonexistent.json")


def test_the_summary_of_another_model(tmp_path: Path) -> None:
    file = str(tmp_path / "s.json")
    calibrated().save_qconf_summary(qconf_summary=file)
    other = prepare(nn.Sequential(nn.Linear(8, 8)).eval(), default_static_qconfig, X)
    with pytest.raises(QuantizationError, match=r"does not fit the prepared model.*2/linear/0"):
        other.load_qconf_summary(qconf_summary=file)


@pytest.mark.parametrize("scale", [0, -1.0, "0.1", None])
def test_an_edit_out_of_range(scale: Any, tmp_path: Path) -> None:
    ready, file = calibrated(), tmp_path / "s.json"
    ready.save_qconf_summary(qconf_summary=str(file))
    summary = json.loads(file.read_text())
    summary["sites"][0]["operands"]["input"]["scale"] = scale
    file.write_text(json.dumps(summary))
    with pytest.raises(QuantizationError, match="'scale' must be a finite number above 0"):
        ready.load_qconf_summary(qconf_summary=str(file))


@pytest.mark.parametrize("value", [model(), None, 3])
def test_convert_needs_a_prepared_model(value: Any) -> None:
    with pytest.raises(TypeError, match="prepare and calibrate it first"):
        convert(value)


def test_prepared_twice() -> None:
    with pytest.raises(ValueError, match="is prepared already"):
        prepare(calibrated(), default_static_qconfig, X)


def test_control_flow_that_changes() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.one(x) if float(x.sum()) > 0 else self.other(x)

    ready = prepare(Branch().eval(), default_static_qconfig, X.abs())
    ready(X.abs())
    with pytest.raises(QuantizationError, match="control flow depends on its input"):
        ready(-X.abs())


def test_a_keyword_call_is_quantized() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(input=x, weight=self.weight)

    ready = prepare(Model().eval(), default_static_qconfig, X)
    ready(X)
    assert "ipex_quant::linear" in str(convert(ready).compiled.graph)


def test_two_threads_calibrate_two_models() -> None:
    pair = [prepare(model(), default_static_qconfig, X) for _ in range(2)]
    errors: list[BaseException] = []

    def run(ready: nn.Module) -> None:
        try:
            for _ in range(20):
                ready(X)
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(ready,)) for ready in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for ready in pair:
        assert (convert(ready)(X) - ready(X)).abs().max() < 0.1


@pytest.mark.parametrize("data", [3, X, "path", {"x": X}])
def test_unreadable_calibration_data(data: Any) -> None:
    with pytest.raises(TypeError, match="calibration_data must be an iterable of inputs"):
        jit.quantize(script_module("traced"), calibration_data=data)


def test_empty_calibration_data() -> None:
    with pytest.raises(QuantizationError, match="calibration_data is empty"):
        jit.quantize(script_module("traced"), calibration_data=[])
