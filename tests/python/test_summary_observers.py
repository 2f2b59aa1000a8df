"""Observers named in a summary: edited, loaded, calibrated again; whatever is wrong is an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QConfig, QConfigMapping, QuantizationError, observers
from ipex_quant.observer_names import Resolver, describe

Edit = Callable[[dict[str, dict]], None]


def model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def data() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(64, 6, generator=generator) for _ in range(3)]


def prepared(qconfig: Any = ipex_quant.default_static_qconfig) -> nn.Module:
    return ipex_quant.prepare(model(), qconfig, data()[0])


def calibrate(ready: nn.Module) -> nn.Module:
    for x in data():
        ready(x)
    return ready


def sites(ready: nn.Module, path: Path) -> dict[str, dict]:
    ready.save_qconf_summary(path)
    return {entry["site"]: entry for entry in json.loads(path.read_text())["sites"]}


def edited(path: Path, change: Edit, ready: nn.Module | None = None) -> Path:
    """A file of a calibrated model with a change."""
    (ready or calibrate(prepared())).save_qconf_summary(path)
    summary = json.loads(path.read_text())
    change({entry["site"]: entry for entry in summary["sites"]})
    path.write_text(json.dumps(summary))
    return path


def observe(name: Any, operand: str = "input", site: str = "0/linear/0") -> Edit:
    return lambda entries: entries[site]["operands"][operand].update(observer=name)


def test_a_changed_observer_gives_the_scale_of_the_next_calibration(tmp_path: Path) -> None:
    before = sites(calibrate(prepared()), tmp_path / "before.json")
    file = edited(tmp_path / "s.json", observe("MinMaxObserver"))
    ready = prepared()
    ready.load_qconf_summary(file)
    calibrate(ready)
    after = sites(ready, tmp_path / "after.json")
    operand = after["0/linear/0"]["operands"]["input"]
    values = torch.cat(data())
    assert operand["observer"] == operand["observed_with"] == "MinMaxObserver"
    assert operand["scale"] == pytest.approx(float(values.max() - values.min()) / 255, rel=1e-5)
    assert operand["scale"] > before["0/linear/0"]["operands"]["input"]["scale"]
    assert after["2/linear/0"] == before["2/linear/0"]
    assert {r.became for r in ipex_quant.report(ipex_quant.convert(ready)) if "linear" in r.op} == {
        "int8"
    }


def test_other_edits_of_the_file_stay(tmp_path: Path) -> None:
    def change(entries: dict[str, dict]) -> None:
        observe("MinMaxObserver")(entries)
        entries["2/linear/0"].update(decision="float", reason="edited")

    ready = prepared()
    ready.load_qconf_summary(edited(tmp_path / "s.json", change))
    rows = {r.module: r for r in ipex_quant.report(ipex_quant.convert(calibrate(ready)))}
    assert (rows["2"].became, rows["2"].reason) == ("float", "edited")
    assert rows["0"].became == "int8"


def test_settings_of_an_observer_count(tmp_path: Path) -> None:
    settings = {"name": "HistogramObserver", "method": "percentile", "percentile": 0.9}
    ready = prepared()
    ready.load_qconf_summary(edited(tmp_path / "s.json", observe(settings)))
    operand = sites(calibrate(ready), tmp_path / "a.json")["0/linear/0"]["operands"]["input"]
    assert operand["observer"] == settings
    assert 255 * operand["scale"] < 0.9 * float(torch.cat(data()).max() - torch.cat(data()).min())


def test_a_weight_observer_needs_no_more_data(tmp_path: Path) -> None:
    ready = calibrate(prepared())
    ready.load_qconf_summary(edited(tmp_path / "s.json", observe("MinMaxObserver", "weight")))
    operand = sites(ready, tmp_path / "a.json")["0/linear/0"]["operands"]["weight"]
    largest = float(model()[0].weight.detach().abs().max())
    assert operand["scale"] == pytest.approx([largest / 127], rel=1e-5)
    assert operand["observer"] == {
        "name": "MinMaxObserver",
        "dtype": "torch.int8",
        "qscheme": "torch.per_tensor_symmetric",
    }


def test_a_site_that_the_qconfig_kept_float_becomes_int8(tmp_path: Path) -> None:
    mapping = QConfigMapping().set_global(ipex_quant.default_static_qconfig)
    mapping.set_module_name("0", None)

    def change(entries: dict[str, dict]) -> None:
        entries["0/linear/0"].update(decision="int8", reason="")
        observe("HistogramObserver")(entries)
        observe("WeightObserver", "weight")(entries)

    file = edited(tmp_path / "s.json", change, calibrate(prepared(mapping)))
    ready = prepared(mapping)
    ready.load_qconf_summary(file)
    quantized = ipex_quant.convert(calibrate(ready))
    assert {r.module: r.became for r in ipex_quant.report(quantized)}["0"] == "int8"
    x = data()[0]
    assert torch.equal(quantized(x), ipex_quant.convert(calibrate(prepared()))(x))


def test_an_input_can_be_quantized_at_run_time(tmp_path: Path) -> None:
    ready = prepared()
    ready.load_qconf_summary(edited(tmp_path / "s.json", observe("DynamicObserver")))
    quantized = ipex_quant.convert(calibrate(ready))
    kernels = {r.module: r.kernel for r in ipex_quant.report(quantized)}
    assert kernels["0"].startswith("ipex_quant::linear_dynamic")
    assert kernels["2"] == "ipex_quant::linear"


def test_the_weight_observer_of_a_dynamic_model(tmp_path: Path) -> None:
    dynamic = ipex_quant.default_dynamic_qconfig
    change = observe({"name": "MinMaxObserver"}, "weight")
    ready = prepared(dynamic)
    ready.load_qconf_summary(edited(tmp_path / "s.json", change, prepared(dynamic)))
    per_tensor = QConfig(
        dynamic.activation,
        observers.MinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric),
    )
    mapping = QConfigMapping().set_global(dynamic).set_module_name("0", per_tensor)
    x = data()[0]
    result = ipex_quant.convert(ready)(x)
    assert torch.equal(result, ipex_quant.convert(prepared(mapping))(x))
    assert not torch.equal(result, ipex_quant.convert(prepared(dynamic))(x))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_torchs_observers_have_names_of_their_own(tmp_path: Path) -> None:
    theirs = {"name": "torch.HistogramObserver", "bins": 512}
    ready = prepared()
    ready.load_qconf_summary(edited(tmp_path / "s.json", observe(theirs)))
    operand = sites(calibrate(ready), tmp_path / "a.json")["0/linear/0"]["operands"]["input"]
    from torch.ao.quantization import HistogramObserver

    observer = HistogramObserver(bins=512)
    for x in data():
        observer(x)
    assert operand["scale"] == pytest.approx(float(observer.calculate_qparams()[0]))
    assert operand["observer"] == theirs


def test_an_observer_of_the_users_own_can_be_named(tmp_path: Path) -> None:
    class Fixed(observers.MinMaxObserver):
        def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.tensor([0.25]), torch.tensor([7])

    own = QConfig(Fixed, observers.WeightObserver)
    mapping = QConfigMapping().set_global(ipex_quant.default_static_qconfig)
    mapping.set_module_name("2", own)
    name = describe(Fixed())
    ready = prepared(mapping)
    file = edited(tmp_path / "s.json", observe(name), calibrate(prepared(mapping)))
    ready.load_qconf_summary(file)
    operand = sites(calibrate(ready), tmp_path / "a.json")["0/linear/0"]["operands"]["input"]
    assert (operand["scale"], operand["zero_point"]) == (0.25, 7)
    with pytest.raises(QuantizationError, match=r"no observer '.*Fixed'; one of"):
        prepared().load_qconf_summary(file)


def test_a_loaded_file_that_waits_for_calibration_cannot_be_used(tmp_path: Path) -> None:
    ready = calibrate(prepared())
    ready.load_qconf_summary(edited(tmp_path / "s.json", observe("MinMaxObserver")))
    for use in (ipex_quant.convert, lambda m: torch.jit.trace(m, data()[0])):
        with pytest.raises(
            QuantizationError, match=r"'0/linear/0', operand 'input' asks for MinMaxObserver"
        ):
            use(ready)


def test_another_file_takes_the_edits_back(tmp_path: Path) -> None:
    plain = tmp_path / "plain.json"
    calibrate(prepared()).save_qconf_summary(plain)
    ready = calibrate(prepared())
    ready.load_qconf_summary(edited(tmp_path / "s.json", observe("MinMaxObserver")))
    ready.load_qconf_summary(plain)
    ready.save_qconf_summary(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == plain.read_bytes()


def no_such_operand(entries: dict[str, dict]) -> None:
    operands = entries["0/linear/0"]["operands"]
    operands["other"] = {**operands["input"], "observer": "MinMaxObserver"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (observe("MinMax"), r"operand 'input': there is no observer 'MinMax'; one of .*Histogram"),
        (observe("torch.Observer"), "there is no observer 'torch.Observer'"),
        (observe(3), 'an observer must be a name, or an object with a "name"'),
        (observe({"bins": 3}), 'must be a name, or an object with a "name"'),
        (observe({"name": "MinMaxObserver", "bins": 3}), "MinMaxObserver.*unexpected.*bins"),
        (observe({"name": "HistogramObserver", "method": "x"}), "method must be 'mse'"),
        (observe("WeightObserver"), "activation observer of the summary"),
        (observe("DynamicObserver", "weight"), "a weight is not quantized at run time"),
        (observe("DynamicObserver", site="1/relu/0"), "only gru, .*lstm_packed quantize an input"),
        (no_such_operand, "operand 'other' takes no observer"),
    ],
)
def test_a_wrong_observer_is_an_error(tmp_path: Path, change: Edit, message: str) -> None:
    file = edited(tmp_path / "s.json", change)
    ready = prepared()
    with pytest.raises(QuantizationError, match=message):
        ready.load_qconf_summary(file)


def test_a_dynamic_model_takes_no_ranges(tmp_path: Path) -> None:
    dynamic = ipex_quant.default_dynamic_qconfig
    file = edited(tmp_path / "s.json", observe("MinMaxObserver"), prepared(dynamic))
    with pytest.raises(QuantizationError, match="prepared for dynamic quantization"):
        prepared(dynamic).load_qconf_summary(file)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("part", ["activation", "weight"])
def test_every_description_gives_the_observer_back(part: str) -> None:
    from torch.ao.quantization import observer as theirs

    made = {
        "activation": [
            observers.HistogramObserver(method="minmax", dtype=torch.qint8),
            observers.MovingAverageMinMaxObserver(averaging_constant=0.5),
            observers.DynamicObserver(granularity="tensor"),
            theirs.MinMaxObserver(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric),
            theirs.MovingAverageMinMaxObserver(quant_min=0, quant_max=127),
        ],
        "weight": [
            observers.WeightObserver(),
            observers.PerChannelMinMaxObserver(),
            theirs.PerChannelMinMaxObserver(dtype=torch.qint8, qscheme=torch.per_channel_symmetric),
        ],
    }[part]
    for observer in made:
        again = Resolver([]).factory(describe(observer), part, "here")()
        assert type(again) is type(observer)
        assert describe(again) == describe(observer)
