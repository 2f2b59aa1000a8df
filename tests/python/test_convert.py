"""convert(): the second front door, traced, frozen and saved as the tutorial does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant.quantization import convert, prepare


def calibrated() -> tuple[nn.Module, nn.Module, torch.Tensor]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()
    x = torch.randn(2, 3, 8, 8)
    ready = prepare(model, ipex_quant.default_static_qconfig_mapping, example_inputs=x)
    for _ in range(3):
        ready(torch.randn(4, 3, 8, 8))
    return model, ready, x


def test_convert_trace_freeze_save(tmp_path: Path) -> None:
    model, ready, x = calibrated()
    converted = convert(ready)
    with torch.no_grad():
        expected = converted(x)
        traced = torch.jit.freeze(torch.jit.trace(converted, x))
        assert torch.equal(traced(x), expected)
    traced.save(str(tmp_path / "m.pt"))
    loaded = torch.jit.freeze(torch.jit.load(str(tmp_path / "m.pt")).eval())
    assert torch.equal(loaded(x), expected)
    assert (expected - model(x)).abs().max() < 0.1
    assert "ipex_quant::conv" in str(traced.inlined_graph)
    assert ipex_quant.report(converted).counts()["int8"] >= 2


def test_keyword_examples() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return self.fc(left) + right

    example = {"right": torch.randn(2, 4), "left": torch.randn(2, 4)}
    ready = prepare(Model().eval(), ipex_quant.default_static_qconfig, example_kwarg_inputs=example)
    ready(**example)
    converted = convert(ready)
    assert (converted(**example) - ready(**example)).abs().max() < 0.1


def test_wrong_models_are_refused() -> None:
    with pytest.raises(TypeError, match=r"expected a model from ipex_quant.prepare\(\)"):
        convert(nn.Linear(4, 4))
    model = nn.Linear(4, 4).eval()
    ready = prepare(model, ipex_quant.default_static_qconfig, torch.randn(2, 4))
    with pytest.raises(ipex_quant.QuantizationError, match="was not calibrated"):
        convert(ready)


@pytest.mark.parametrize("bias", [False, True])
def test_matmul_with_a_constant_matrix(bias: bool) -> None:
    """It is a linear layer to the compiler, with the range that calibration gave the matmul."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.matmul(x, self.fc.weight.t())
            return y + self.fc.bias if bias else y

    model, x = Model().eval(), torch.randn(16, 8)
    ready = prepare(model, ipex_quant.default_static_qconfig, example_inputs=x)
    ready(x)
    converted = convert(ready)
    assert "ipex_quant::linear" in str(converted.compiled.graph)
    assert 0 < (converted(x) - model(x)).abs().max() < 0.1


@pytest.mark.parametrize("qconfig", ["default_static_qconfig", "default_dynamic_qconfig"])
def test_int8_does_not_wait_for_the_optimizer(qconfig: str) -> None:
    """IPEX bound its kernels in the second call, and never with the optimizer off."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.rnn(x)[0])

    x = torch.randn(2, 5, 8)
    ready = prepare(Model().eval(), getattr(ipex_quant, qconfig), example_inputs=x)
    ready(x)
    traced = torch.jit.trace(ready, x)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        converted = convert(ready)
        frozen = torch.jit.freeze(torch.jit.trace(converted, x))
        ways = [converted, frozen, ipex_quant.jit.quantize(traced)]
        results = [way(x) for way in ways]
        kinds = [{node.kind() for node in way.inlined_graph.nodes()} for way in ways[1:]]
    for found in kinds:
        ours = {kind for kind in found if kind.startswith("ipex_quant::")}
        assert "ipex_quant::lstm" in ours and any("linear" in kind for kind in ours)
        # Bound: the packed weights are constants, nothing is packed in a call.
        assert not [kind for kind in ours if kind.endswith("_prepack")]
        assert not found & {"aten::lstm", "aten::linear"}
    assert torch.equal(results[0], results[1])
    with torch.no_grad():
        for way, result in zip(ways, results, strict=True):
            assert all(torch.equal(way(x), result) for _ in range(3))
