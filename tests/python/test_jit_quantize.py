"""jit.quantize(): the two ways to qparams, and every wrong input."""

from __future__ import annotations

import ctypes
import gc
import mmap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QConfigMapping, QuantizationError, default_static_qconfig


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        return self.fc(x.mean((2, 3)))


def data(count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(4, 3, 8, 8, generator=generator) for _ in range(count)]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(4)
    net = Model()
    net.norm.running_mean.normal_()
    net.norm.running_var.uniform_(0.5, 2)
    return net.eval()


def trace(net: nn.Module) -> Any:
    with torch.no_grad():
        return torch.jit.trace(net, data()[0])


def prepared_trace(net: nn.Module, **kwargs: Any) -> Any:
    ready = ipex_quant.prepare(net, default_static_qconfig, data()[0], **kwargs)
    for x in data():
        ready(x)
    return trace(ready)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() < 0.05 * b.abs().max())


def text(module: Any) -> str:
    return str(module.inlined_graph)


def test_a_trace_of_a_prepared_model(model: nn.Module) -> None:
    quantized = ipex_quant.jit.quantize(prepared_trace(model))
    x = torch.randn(7, 3, 12, 10)
    assert close(quantized(x), model(x))
    assert "ipex_quant::conv" in text(quantized)
    assert "aten::conv" not in text(quantized)


def test_qparams_ride_along_through_a_file(model: nn.Module, tmp_path: Path) -> None:
    traced = prepared_trace(model)
    traced.save(str(tmp_path / "traced.pt"))
    loaded = torch.jit.load(str(tmp_path / "traced.pt"))
    x = data()[1]
    assert torch.equal(ipex_quant.jit.quantize(loaded)(x), ipex_quant.jit.quantize(traced)(x))


def test_a_norm_that_only_the_compiler_folds(model: nn.Module) -> None:
    x = data()[1]
    early = ipex_quant.jit.quantize(prepared_trace(model))
    late = ipex_quant.jit.quantize(prepared_trace(model, bn_folding=False))
    assert "batch_norm" not in text(late)
    assert close(late(x), model(x))
    assert (late(x) - early(x)).abs().max() < 0.02 * model(x).abs().max()


@pytest.mark.parametrize("form", ["tensors", "tuples", "dicts", "iterator", "loader"])
def test_a_bare_trace_with_calibration_data(model: nn.Module, form: str) -> None:
    forms: dict[str, Any] = {
        "tensors": data(),
        "tuples": [(x,) for x in data()],
        "dicts": [{"x": x} for x in data()],
        "iterator": iter(data()),
        "loader": torch.utils.data.DataLoader(torch.cat(data()), batch_size=4),
    }
    quantized = ipex_quant.jit.quantize(trace(model), calibration_data=forms[form])
    x = data()[1]
    assert close(quantized(x), model(x))
    assert "aten::conv" not in text(quantized)


def test_a_bare_file_with_calibration_data(model: nn.Module, tmp_path: Path) -> None:
    trace(model).save(str(tmp_path / "bare.pt"))
    loaded = torch.jit.load(str(tmp_path / "bare.pt"))
    mapping = QConfigMapping().set_global(default_static_qconfig).set_object_type(nn.Linear, None)
    quantized = ipex_quant.jit.quantize(loaded, mapping, calibration_data=data())
    assert "aten::linear" in text(quantized)
    assert "ipex_quant::conv" in text(quantized)


def test_a_mapping_keeps_sites_of_a_calibrated_trace_float(model: nn.Module) -> None:
    mapping = QConfigMapping().set_global(default_static_qconfig).set_module_name("fc", None)
    quantized = ipex_quant.jit.quantize(prepared_trace(model), mapping)
    rows = {r.module: r for r in ipex_quant.report(quantized) if r.became == "float"}
    assert rows["fc"].reason == "kept float by set_module_name('fc')"


def test_the_input_module_is_unchanged(model: nn.Module) -> None:
    traced = prepared_trace(model)
    before, x = text(traced), data()[0]
    expected = traced(x)
    ipex_quant.jit.quantize(traced)
    assert text(traced) == before
    assert torch.equal(traced(x), expected)


def resident() -> int:
    """Bytes of memory of this process, without what malloc keeps for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_quantizing_again_and_again_keeps_no_weights() -> None:
    traced = torch.jit.trace(
        nn.Sequential(*[nn.Linear(1024, 1024) for _ in range(4)]).eval(), torch.randn(2, 1024)
    )
    held = []
    for _ in range(5):
        ipex_quant.jit.quantize(traced, ipex_quant.default_dynamic_qconfig)
        held.append(resident())
    assert held[-1] - held[0] < 16 << 20  # one copy of the float weights is as much


def test_the_saved_file_gives_identical_bits(model: nn.Module, tmp_path: Path) -> None:
    quantized = ipex_quant.jit.quantize(prepared_trace(model))
    quantized.save(str(tmp_path / "q.pt"))
    loaded = torch.jit.load(str(tmp_path / "q.pt"))
    x = torch.randn(3, 3, 9, 9)
    assert torch.equal(loaded(x), quantized(x))
    assert ipex_quant.report(loaded).to_json() == ipex_quant.report(quantized).to_json()


def test_no_qparams_and_no_data(model: nn.Module) -> None:
    with pytest.raises(QuantizationError, match="has no qparams: trace a model that went through"):
        ipex_quant.jit.quantize(trace(model))


def test_an_uncalibrated_prepared_model_does_not_trace(model: nn.Module) -> None:
    ready = ipex_quant.prepare(model, default_static_qconfig, data()[0])
    with pytest.raises(QuantizationError, match="was not calibrated"):
        trace(ready)


def test_scripted_and_eager_modules_are_refused(model: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"got one from torch\.jit\.script"):
        ipex_quant.jit.quantize(torch.jit.script(model), calibration_data=data())
    with pytest.raises(TypeError, match="got Model; trace it first"):
        ipex_quant.jit.quantize(model)


def test_training_mode_is_refused() -> None:
    traced = torch.jit.trace(nn.Linear(4, 4).train(), torch.randn(2, 4))
    with pytest.raises(ValueError, match="is in training mode"):
        ipex_quant.jit.quantize(traced, calibration_data=data())


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([], QuantizationError, "calibration_data is empty"),
        (torch.randn(4, 3, 8, 8), TypeError, "must be an iterable of inputs, such as a list"),
        (7, TypeError, "must be an iterable of inputs"),
        ([3], TypeError, "batch 0 of calibration_data must be a tensor"),
        ([torch.randn(4, 2, 8, 8)], QuantizationError, r"batch 0 .*torch.float32 \[4, 2, 8, 8\]"),
        ([(torch.randn(4, 3, 8, 8), torch.zeros(4))], QuantizationError, "does not run on batch 0"),
    ],
)
def test_wrong_calibration_data(
    model: nn.Module, bad: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ipex_quant.jit.quantize(trace(model), calibration_data=bad)


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinite")])
def test_values_without_a_range_are_named(model: nn.Module, value: float, word: str) -> None:
    bad = data()
    bad[1][0, 0, 0, 0] = value
    with pytest.raises(QuantizationError, match=f"'conv/conv/0' operand 'input': it held {word}"):
        ipex_quant.jit.quantize(trace(model), calibration_data=bad)


def test_sites_that_do_not_match_are_all_listed(model: nn.Module) -> None:
    traced = prepared_trace(model)
    ready = torch.jit.trace(
        _WithState(nn.Linear(8, 8), traced._ipex_quant_state), torch.randn(2, 8)
    )
    with pytest.raises(QuantizationError) as caught:
        ipex_quant.jit.quantize(ready.eval())
    for name in ("inner/linear/0", "conv/conv/0", "/relu/0", "/mean/0", "fc/linear/0"):
        assert f"'{name}'" in str(caught.value)


class _WithState(nn.Module):
    """A model that carries the summary of another one."""

    def __init__(self, inner: nn.Module, summary: torch.Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("_ipex_quant_state", summary)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def test_empty_values_are_reported_as_unseen(model: nn.Module) -> None:
    with pytest.raises(QuantizationError, match=r"saw no values in calibration: 'conv/conv/0'"):
        ipex_quant.jit.quantize(trace(model), calibration_data=[torch.randn(0, 3, 8, 8)])
