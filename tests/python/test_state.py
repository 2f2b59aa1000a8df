"""The summary: saved twice it is the same, edited it counts, and whatever is wrong is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QuantizationError, default_static_qconfig, state


def model() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def data() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    return [torch.randn(16, 6, generator=generator) for _ in range(3)]


def calibrated(net: nn.Module | None = None) -> nn.Module:
    ready = ipex_quant.prepare(net or model(), default_static_qconfig, data()[0])
    for x in data():
        ready(x)
    return ready


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "summary.json"
    calibrated().save_qconf_summary(path)
    return path


def edit(file: Path, change: Any) -> None:
    summary = json.loads(file.read_text())
    change(summary)
    file.write_text(json.dumps(summary))


def test_two_saves_are_byte_identical(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    ready = calibrated()
    ready.save_qconf_summary(qconf_summary=str(first))
    ready.save_qconf_summary(qconf_summary=str(second))
    assert first.read_bytes() == second.read_bytes()
    calibrated().save_qconf_summary(second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_loading_replaces_calibration_and_saving_gives_the_same_file(file: Path) -> None:
    ready = ipex_quant.prepare(model(), default_static_qconfig, data()[0])
    ready.load_qconf_summary(qconf_summary=str(file))
    again = file.with_name("again.json")
    ready.save_qconf_summary(again)
    assert again.read_bytes() == file.read_bytes()
    x = data()[0]
    assert torch.equal(ipex_quant.convert(ready)(x), ipex_quant.convert(calibrated())(x))


def test_an_edited_decision_counts(file: Path) -> None:
    edit(file, lambda s: s["sites"][0].update(decision="float", reason="edited"))
    ready = ipex_quant.prepare(model(), default_static_qconfig, data()[0])
    ready.load_qconf_summary(file)
    rows = {(r.module, r.op): r for r in ipex_quant.report(ipex_quant.convert(ready))}
    assert rows["0", "aten::linear"].became == "float"
    assert rows["0", "aten::linear"].reason == "edited"
    assert rows["2", "aten::linear"].became == "int8"


def test_an_edited_scale_counts(file: Path) -> None:
    def coarser(summary: dict) -> None:
        summary["sites"][0]["operands"]["input"]["scale"] = 1.0

    edit(file, coarser)
    ready = ipex_quant.prepare(model(), default_static_qconfig, data()[0])
    ready.load_qconf_summary(file)
    x = data()[0]
    assert not torch.allclose(ipex_quant.convert(ready)(x), model()(x), atol=0.05)


def sites(ready: nn.Module, path: Path) -> list[dict]:
    ready.save_qconf_summary(path)
    return json.loads(path.read_text())["sites"]


def test_calibrating_again_replaces_scales_and_keeps_decisions(file: Path) -> None:
    def by_hand(summary: dict) -> None:
        summary["sites"][0].update(decision="float", reason="edited")
        for entry in (summary["sites"][0], summary["sites"][2]):
            entry["operands"]["input"]["scale"] = 1.0

    ready = calibrated()
    edit(file, by_hand)
    ready.load_qconf_summary(file)
    ready(data()[0])
    again = file.with_name("again.json")
    first, _, last = sites(ready, again)
    assert (first["decision"], first["reason"]) == ("float", "edited")
    assert (first["recipe_decision"], last["decision"]) == ("int8", "int8")
    assert max(e["operands"]["input"]["scale"] for e in (first, last)) < 0.1
    ready.load_qconf_summary(again)
    ready(data()[1])
    rows = {r.module: r for r in ipex_quant.report(ipex_quant.convert(ready))}
    assert (rows["0"].became, rows["0"].reason, rows["2"].became) == ("float", "edited", "int8")
    edit(file, lambda s: s["sites"][0].update(decision="int8", reason=""))
    ready.load_qconf_summary(file)
    ready(data()[2])
    assert sites(ready, again)[0]["decision"] == "int8"


def test_a_site_that_is_too_noisy_for_the_recipe_can_be_kept_int8(file: Path) -> None:
    net = model()
    with torch.no_grad():  # the last layer's output is the small difference of large values
        net[0].bias.zero_(), net[2].bias.zero_()
        net[0].weight[1::2] = net[0].weight[::2] * (1 + 1e-4)
        net[2].weight[:, 1::2] = -net[2].weight[:, ::2]
    ready = calibrated(net)
    entry = sites(ready, file)[2]
    assert entry["decision"] == "float" and "dB is the least" in entry["reason"]
    edit(file, lambda s: s["sites"][2].update(decision="int8", reason=""))
    ready.load_qconf_summary(file)
    ready(data()[0])
    entry = sites(ready, file)[2]
    assert (entry["decision"], entry["recipe_decision"]) == ("int8", "float")


def test_int8_without_a_range_gives_way(file: Path) -> None:
    """A file says int8; the calibration that follows shows nothing but zeros."""
    edit(file, lambda s: [entry.pop("recipe_decision") for entry in s["sites"]])
    ready = ipex_quant.prepare(model(), default_static_qconfig, data()[0])
    ready.load_qconf_summary(file)
    ready(torch.zeros(4, 6))
    entry = sites(ready, file)[0]
    assert entry["decision"] == "float"
    assert entry["reason"] == "operand 'input' was zero throughout calibration"


def test_a_file_that_does_not_know_the_recipe_decides(file: Path) -> None:
    """As those of 0.1.0 and of IPEX: all its decisions hold."""

    def older(summary: dict) -> None:
        for entry in summary["sites"]:
            del entry["recipe_decision"]
        summary["sites"][2].update(decision="float", reason="")

    edit(file, older)
    ready = ipex_quant.prepare(model(), default_static_qconfig, data()[0])
    ready.load_qconf_summary(file)
    ready(data()[0])
    assert [e["decision"] for e in sites(ready, file)] == ["int8", "int8", "float"]


def test_decisions_hold_in_a_dynamic_model(file: Path) -> None:
    ready = ipex_quant.prepare(model(), ipex_quant.default_dynamic_qconfig, data()[0])
    ready.save_qconf_summary(file)
    edit(file, lambda s: s["sites"][0].update(decision="float", reason="edited"))
    ready.load_qconf_summary(file)
    ready(data()[0])
    rows = {r.module: r for r in ipex_quant.report(ipex_quant.convert(ready))}
    assert (rows["0"].became, rows["0"].reason, rows["2"].became) == ("float", "edited", "int8")


def test_a_summary_of_another_model_names_the_sites(file: Path) -> None:
    other = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Tanh()).eval()
    ready = ipex_quant.prepare(other, default_static_qconfig, data()[0])
    with pytest.raises(QuantizationError, match="only in the prepared model: '3/tanh/0'"):
        ready.load_qconf_summary(file)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        calibrated().load_qconf_summary(tmp_path / "none.json")


def no_field(summary: dict) -> None:
    del summary["sites"][0]["decision"]


def site_twice(summary: dict) -> None:
    summary["sites"].append(summary["sites"][0])


def site_removed(summary: dict) -> None:
    summary["sites"].pop()


def set_input(**fields: Any) -> Any:
    return lambda summary: summary["sites"][0]["operands"]["input"].update(fields)


def set_weight(**fields: Any) -> Any:
    return lambda summary: summary["sites"][0]["operands"]["weight"].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(schema="other"), "is not a summary of ipex_quant"),
        (lambda s: s.update(version=2), "has version 2; this ipex_quant reads versions up to 1"),
        (lambda s: s.update(version="x"), 'has version "x"'),
        (lambda s: s.update(sites=3), "has no list 'sites'"),
        (lambda s: s.update(untraced=[1]), "'untraced' must be a list of sites, got a list of 1"),
        (no_field, "entry 0 of 'sites' has no 'decision'"),
        (lambda s: s["sites"][0].update(decision="int4"), '\'decision\' must be "int8" or "float"'),
        (set_input(scale=0), "operand 'input': 'scale' must be a finite number above 0, got 0"),
        (set_input(scale=None), "'scale' must be a finite number above 0, got null"),
        (set_input(zero_point=256), "'zero_point' must be a whole number in 0..255, got 256"),
        (set_input(zero_point=1.5), "'zero_point' must be a whole number"),
        (set_weight(scale=[0.1, -1]), "'scale' must be a list of finite numbers above 0"),
        (site_twice, "lists sites twice: '0/linear/0'"),
        (site_removed, "fingerprint does not fit its list of sites"),
    ],
)
def test_wrong_content_is_an_error(file: Path, change: Any, message: str) -> None:
    edit(file, change)
    with pytest.raises(QuantizationError, match=message):
        calibrated().load_qconf_summary(file)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_an_error(file: Path, keep: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    with pytest.raises(QuantizationError, match="corrupted, it is not JSON"):
        calibrated().load_qconf_summary(file)


def test_a_corrupted_buffer_of_a_trace_is_an_error() -> None:
    traced = torch.jit.trace(calibrated(), data()[0])
    getattr(traced, state.BUFFER)[5:9] = 0
    with pytest.raises(QuantizationError, match="summary inside the traced module"):
        ipex_quant.jit.quantize(traced)


def test_a_trace_keeps_the_summary_it_was_made_with(tmp_path):
    """Loading another summary changes later traces, not the ones that exist."""
    torch.manual_seed(0)
    x = torch.randn(4, 8)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    prepared = ipex_quant.prepare(
        model, ipex_quant.default_static_qconfig_mapping, example_inputs=x
    )
    prepared(x)
    first = torch.jit.trace(prepared, x)
    before = first._ipex_quant_state.clone()
    path = tmp_path / "summary.json"
    prepared.save_qconf_summary(qconf_summary=path)
    summary = json.loads(path.read_text())
    summary["sites"][0]["decision"] = "float"
    summary["sites"][0]["reason"] = "edited by hand, which makes the text longer"
    path.write_text(json.dumps(summary))
    prepared.load_qconf_summary(qconf_summary=path)
    second = torch.jit.trace(prepared, x)
    assert torch.equal(first._ipex_quant_state, before)
    assert not torch.equal(second._ipex_quant_state, before)
