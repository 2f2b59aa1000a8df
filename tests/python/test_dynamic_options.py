"""What dynamic quantization is asked for: rules, observers, summary, copies, bad input."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao.quantization import (
    MinMaxObserver,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
)
from torch.ao.quantization import QConfig as TorchQConfig

import ipex_quant
from ipex_quant import QuantizationError, _backend, observers
from ipex_quant.quantization import (
    QConfig,
    QConfigMapping,
    convert,
    default_dynamic_qconfig,
    prepare,
)


def quantized(model: nn.Module, qconfig: Any = default_dynamic_qconfig) -> nn.Module:
    return convert(prepare(model.eval(), qconfig))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (lambda m: m.set_object_type(nn.LSTM, None), {"rnn": "float", "out": "int8"}),
        (lambda m: m.set_object_type("linear", None), {"rnn": "int8", "out": "float"}),
        (lambda m: m.set_module_name_regex("r.*", None), {"rnn": "float", "out": "int8"}),
        (
            lambda m: m.set_module_name_object_type_order("out", nn.Linear, 0, None),
            {"rnn": "int8", "out": "float"},
        ),
    ],
)
def test_the_mapping_is_honoured(rule: Any, expected: dict) -> None:
    model = nn.ModuleDict({"rnn": nn.LSTM(4, 4), "out": nn.Linear(4, 4)}).eval()
    mapping = rule(QConfigMapping().set_global(default_dynamic_qconfig))
    rows = ipex_quant.report(quantized(model, mapping))
    assert {row.module: row.became for row in rows} == expected


def test_weight_per_tensor_and_activation_per_tensor() -> None:
    model = nn.Linear(16, 8).eval()
    x = torch.randn(6, 16) * torch.logspace(-2, 2, 6)[:, None]
    whole = QConfig(
        activation=observers.DynamicObserver.with_args(granularity="tensor"),
        weight=MinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric),
    )
    rows = QConfig(activation=observers.DynamicObserver.with_args(), weight=whole.weight)
    expected = model(x) - model.bias
    errors = [
        ((quantized(model, q)(x) - model.bias - expected)[0].norm() / expected[0].norm()).item()
        for q in (rows, whole)
    ]
    assert errors[0] < 0.05 < 0.3 < errors[1]  # the small row keeps its precision only by itself
    packed = quantized(model, whole).packed.__getstate__()[0]
    assert packed[2].numel() == 1
    with pytest.raises(ValueError, match="granularity must be 'row' or 'tensor'"):
        observers.DynamicObserver(granularity="channel")


@pytest.mark.parametrize("granularity", ["row", "tensor"])
def test_every_way_takes_the_granularity(granularity: str) -> None:
    """A trace of the model, one of the prepared model, and a portable file and the way back."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 8)).eval()
    x = torch.randn(2, 6, 16) * torch.logspace(-2, 2, 6)[:, None]
    own = QConfig(
        observers.DynamicObserver.with_args(granularity=granularity), default_dynamic_qconfig.weight
    )
    prepared = prepare(model, own, example_inputs=x)
    expected = convert(prepared)[0](x)
    other = quantized(model, QConfig(observers.DynamicObserver.with_args(), own.weight))[0](x)
    assert torch.equal(expected, other) == (granularity == "row")
    first = nn.Sequential(model[0]).eval()
    trace = torch.jit.trace(first, x)
    portable = ipex_quant.jit.quantize(trace, own, mode="portable")
    ways = [
        ipex_quant.jit.quantize(trace, own),
        ipex_quant.jit.quantize(torch.jit.trace(prepare(first, own, x), x)),
        ipex_quant.jit.quantize(portable),
    ]
    for way in ways:
        assert torch.equal(way(x), expected)
    torch.testing.assert_close(portable(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("granularity", ["row", "tensor"])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_take_rows_and_the_report_says_so(kind: Any, granularity: str) -> None:
    """Whatever the granularity, in modules and in graphs (which have no kernel for nn.RNN)."""
    layer, x = kind(8, 16).eval(), torch.randn(5, 2, 8)
    usual = default_dynamic_qconfig
    own = QConfig(observers.DynamicObserver.with_args(granularity=granularity), usual.weight)
    ways = [convert(prepare(layer, own))]
    if kind is not nn.RNN:
        ways.append(ipex_quant.jit.quantize(torch.jit.trace(layer, x), own))
    expected = quantized(layer)(x)[0]
    for way in ways:
        assert torch.equal(way(x)[0], expected)
        (row,) = [r for r in ipex_quant.report(way) if kind.__name__.lower() in r.op]
        assert row.became == "int8"
        assert row.reason == "its input and hidden state take a scale per row at run time"


def test_in_place_and_the_users_model() -> None:
    model = nn.Sequential(nn.Linear(4, 4)).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(2, 4)
    expected = model(x)
    converted = quantized(model)
    assert torch.equal(model(x), expected) and type(model[0]) is nn.Linear
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    ready = prepare(model, default_dynamic_qconfig, inplace=True)
    assert ready is model
    assert convert(ready, inplace=True) is model
    assert torch.equal(model(x), converted(x))
    with pytest.raises(TypeError, match="prepare"):
        convert(model)


def test_a_forward_set_on_the_object_is_kept() -> None:
    model = nn.Sequential(nn.Linear(4, 4)).eval()
    model.forward = lambda x: model[0](x) + 1  # type: ignore[method-assign]
    ready = prepare(model, default_dynamic_qconfig, inplace=True)
    assert torch.equal(
        convert(ready, inplace=True)(torch.zeros(1, 4)), model[0](torch.zeros(1, 4)) + 1
    )


def test_summary_switches_a_layer_to_float(tmp_path: Any) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()
    ready = prepare(model, default_dynamic_qconfig, example_inputs=torch.randn(2, 8))
    file = tmp_path / "summary.json"
    ready.save_qconf_summary(qconf_summary=str(file))
    text = file.read_text()
    file.write_text(text.replace('"decision": "int8"', '"decision": "float"', 1))
    ready.load_qconf_summary(qconf_summary=str(file))
    rows = {row.module: row.became for row in ipex_quant.report(convert(ready))}
    assert rows == {"0": "float", "1": "int8"}


def test_a_summary_needs_a_run(tmp_path: Any) -> None:
    file, x = str(tmp_path / "summary.json"), torch.randn(2, 8)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()
    prepare(model, default_dynamic_qconfig, x).save_qconf_summary(qconf_summary=file)
    ready = prepare(model, default_dynamic_qconfig)
    other = tmp_path / "other.json"
    for use in (
        lambda: ready.save_qconf_summary(qconf_summary=str(other)),
        lambda: ready.load_qconf_summary(qconf_summary=file),
    ):
        with pytest.raises(QuantizationError, match="did not run yet: give prepare example_inputs"):
            use()
    assert not other.exists()
    ready(x)
    ready.load_qconf_summary(qconf_summary=file)
    ready.save_qconf_summary(qconf_summary=str(other))
    assert other.read_text() == Path(file).read_text()
    empty = prepare(nn.Sequential(nn.ReLU()).eval(), default_dynamic_qconfig)
    empty(x)
    empty.save_qconf_summary(qconf_summary=str(other))  # a model without layers has no sites


def test_float16_and_static_activations_are_no_dynamic_qconfig() -> None:
    weight = PerChannelMinMaxObserver.with_args(
        dtype=torch.qint8, qscheme=torch.per_channel_symmetric
    )
    half = TorchQConfig(
        activation=PlaceholderObserver.with_args(dtype=torch.float16), weight=weight
    )
    with pytest.raises(ValueError, match="dtype must be"):
        prepare(nn.Linear(4, 4).eval(), half)
    with pytest.raises(ValueError, match="needs example_inputs"):
        prepare(nn.Linear(4, 4).eval(), ipex_quant.default_static_qconfig)


def test_scripted_submodules_stay_as_they_are() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inner = torch.jit.script(nn.Linear(4, 4))
    model = nn.Sequential(inner, nn.Linear(4, 4)).eval()
    rows = {row.module: row for row in ipex_quant.report(quantized(model))}
    assert "TorchScript already" in rows["0"].reason and rows["1"].became == "int8"


def test_a_model_that_cannot_be_copied() -> None:
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: dict) -> nn.Module:
            raise TypeError("no copies")

    model = nn.Sequential(nn.Linear(4, 4), Stubborn(4, 4)).eval()
    words = r"cannot be copied: TypeError: no copies.*inplace=True"
    with pytest.raises(QuantizationError, match=words):
        prepare(model, default_dynamic_qconfig)
    ready = prepare(model, default_dynamic_qconfig, inplace=True)
    assert ready is model
    with pytest.raises(QuantizationError, match=words):
        convert(ready)
    assert type(model[0]) is nn.Linear  # nothing was exchanged
    assert convert(ready, inplace=True) is model
    rows = {row.module: row for row in ipex_quant.report(model)}
    assert rows["0"].became == "int8" and "subclass of nn.Linear" in rows["1"].reason


def test_operators_are_called_past_torch_ops_with_clear_errors():
    call = _backend.operator("linear_dynamic")
    with pytest.raises(TypeError, match="ipex_quant::linear_dynamic takes 3 arguments, got 1"):
        call(torch.randn(2, 4))
    with pytest.raises(TypeError, match="takes tensors, lists of them, packed objects and None"):
        call(torch.randn(2, 4), 3, [])
    layer = convert(prepare(nn.Sequential(nn.Linear(4, 4)).eval(), default_dynamic_qconfig))[0]
    with pytest.raises(RuntimeError, match="x must be a Float tensor"):
        layer(torch.zeros(2, 4, dtype=torch.int64))
    x = torch.randn(2, 4)
    assert torch.equal(layer(x), torch.ops.ipex_quant.linear_dynamic(x, layer.packed, []))
