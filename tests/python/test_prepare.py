"""prepare(): what it records, what it refuses, and that it leaves everything else alone."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import ipex_quant
from ipex_quant import QConfigMapping, default_static_qconfig, prepared


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x)).mean((2, 3))
        return self.fc(self.fc(x) + x)


def prepare(model: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    return ipex_quant.prepare(model.eval(), default_static_qconfig, *args, **kwargs)


def sites(model: nn.Module) -> list[str]:
    return list(prepared.session_of(model).calibrator.sites)


def test_a_module_called_twice_has_two_sites() -> None:
    model = prepare(Small(), torch.randn(2, 3, 8, 8))
    assert sites(model) == [
        "conv/conv/0",
        "/relu/0",
        "/mean/0",
        "fc/linear/0",
        "/add/0",
        "fc/linear/1",
    ]


def test_keywords_in_place_forms_and_operators_are_seen() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = functional.linear(weight=self.weight, input=x)
            y += x
            y = functional.relu(y, inplace=True)
            y = y @ x
            return torch.cat(tensors=[y, x], dim=1) * 2

    model = prepare(Model(), torch.randn(4, 4))
    assert sites(model) == [f"/{f}/0" for f in ("linear", "add", "relu", "matmul", "cat", "mul")]


def test_the_insides_of_attention_and_transformer_layers_are_seen() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = prepare(
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(2, 5, 8)
    )
    for i in range(2):
        for name in ("self_attn/linear/0", "self_attn/sdpa/0", "linear1/linear/0"):
            assert f"layers.{i}.{name}" in sites(model)


def test_recorded_sites_are_those_of_the_trace() -> None:
    model = Small()
    x = torch.randn(2, 3, 8, 8)
    ready = prepare(model, x)
    ready(x)
    quantized = ipex_quant.jit.quantize(torch.jit.trace(ready, x))
    assert quantized(x).shape == (2, 4)


@pytest.mark.parametrize("kind", ["nested", "dict", "keywords"])
def test_nested_inputs_and_outputs(kind: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, batch: Any, scale: torch.Tensor | None = None) -> Any:
            x = batch["x"][0] if isinstance(batch, dict) else batch
            y = self.fc(x)
            return {"y": (y, [y * 2])}

    x = torch.randn(2, 4)
    if kind == "keywords":
        model = prepare(Model(), example_kwarg_inputs={"batch": x})
        result = model(batch=x)
    else:
        batch = {"x": (x, x)}
        # A dict is one positional argument, as a tensor is.
        model = prepare(Model(), (batch,) if kind == "nested" else batch)
        result = model(batch)
    assert torch.equal(result["y"][0] * 2, result["y"][1][0])
    assert prepared.session_of(model).calibrator.forwards == 1


def test_the_users_model_is_unchanged() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    before = copy.deepcopy(model.state_dict())
    strides = [p.stride() for p in model.parameters()]
    ready = prepare(model, torch.randn(2, 3, 8, 8))
    ready(torch.randn(2, 3, 8, 8))
    assert type(model) is nn.Sequential
    assert isinstance(model[1], nn.BatchNorm2d)
    assert strides == [p.stride() for p in model.parameters()]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in ready.modules())
    assert type(ready).__name__ == "Sequential"


def test_inplace_prepares_the_given_object() -> None:
    model = Small().eval()
    assert prepare(model, torch.randn(2, 3, 8, 8), inplace=True) is model
    with pytest.raises(ValueError, match="prepared already"):
        prepare(model, torch.randn(2, 3, 8, 8))


def test_the_example_is_not_observed() -> None:
    model = prepare(Small(), torch.randn(2, 3, 8, 8))
    assert prepared.session_of(model).calibrator.forwards == 0
    with pytest.raises(ipex_quant.QuantizationError, match="was not calibrated"):
        model.save_qconf_summary("unused.json")


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_calibration_gives_the_models_output(context: Any) -> None:
    model = Small().eval()
    x = torch.randn(2, 3, 8, 8)
    ready = prepare(model, x)
    with context():
        assert torch.allclose(ready(x), model(x), atol=1e-6)


def test_an_exception_leaves_everything_restored() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x)

    model = prepare(Model(), torch.randn(2, 4))
    before = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model(torch.randn(2, 5))
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    model(torch.randn(2, 4))
    assert prepared.session_of(model).calibrator.forwards == 1


def test_two_threads_calibrate_two_models() -> None:
    torch.manual_seed(1)
    models = [Small().eval(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()]
    data = [torch.randn(2, 3, 8, 8) for _ in range(6)]

    def summary(ready: nn.Module) -> dict:
        return prepared.session_of(ready).finalise(ready)

    expected = []
    for model in models:
        ready = prepare(model, data[0])
        for x in data:
            ready(x)
        expected.append(summary(ready))
    ready_models = [prepare(model, data[0]) for model in models]
    errors: list[BaseException] = []

    def work(ready: nn.Module) -> None:
        try:
            for x in data:
                ready(x)
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(ready,)) for ready in ready_models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [summary(ready) for ready in ready_models] == expected


def test_calibration_takes_the_branches_of_the_trace() -> None:
    """transformers makes a mask only in a trace, or where a batch has padding."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.elsewhere: list[bool] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            other = threading.Thread(target=lambda: self.elsewhere.append(torch.jit.is_tracing()))
            other.start()
            other.join()
            return self.fc(x + 1 if torch.jit.is_tracing() else x)

    plain = torch.jit.is_tracing
    x = torch.randn(2, 4)
    model = prepare(Model(), x)
    model(x)
    assert torch.jit.is_tracing is plain and not any(model.elsewhere)
    assert sites(model) == ["/add/0", "fc/linear/0"]
    quantized = ipex_quant.jit.quantize(torch.jit.trace(model, x, check_trace=False))
    assert [row.became for row in ipex_quant.report(quantized) if row.op == "aten::linear"] == [
        "int8"
    ]

    class Failing(Model):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        prepare(Failing(), x)
    assert torch.jit.is_tracing is plain


def test_control_flow_that_leaves_the_example_is_an_error() -> None:
    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x) if x.shape[0] == 1 else torch.relu(x) + x

    model = prepare(Model(), torch.randn(1, 4))
    with pytest.raises(
        ipex_quant.QuantizationError, match="'/add/0', which the example inputs did"
    ):
        model(torch.randn(2, 4))


def test_scripted_submodules_are_opaque() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    model = prepare(nn.Sequential(nn.Linear(4, 4), scripted), torch.randn(2, 4))
    assert sites(model) == ["0/linear/0"]
    assert prepared.session_of(model).opaque == ["1"]


def test_buffers_that_keep_state_are_put_back() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            return torch.relu(x + self.count)

    model = prepare(Model(), torch.randn(2, 4))
    assert float(model.count) == 0
    model(torch.randn(2, 4))
    assert float(model.count) == 1


def test_mapping_is_honoured_per_site() -> None:
    mapping = QConfigMapping().set_global(default_static_qconfig).set_module_name("fc", None)
    model = ipex_quant.prepare(Small().eval(), mapping, torch.randn(2, 3, 8, 8))
    model(torch.randn(2, 3, 8, 8))
    summary = prepared.session_of(model).finalise(model)
    reasons = {entry["site"]: entry["reason"] for entry in summary["sites"]}
    assert reasons["fc/linear/0"] == "kept float by set_module_name('fc')"
    assert reasons["conv/conv/0"] == ""


def test_wrong_models_are_refused() -> None:
    with pytest.raises(TypeError, match=r"got a ScriptModule; quantize a traced module with"):
        prepare(torch.jit.script(nn.Linear(4, 4)), torch.randn(2, 4))
    with pytest.raises(TypeError, match=r"expects an nn\.Module, got function"):
        ipex_quant.prepare(lambda x: x, default_static_qconfig, torch.randn(2, 4))
    with pytest.raises(ValueError, match="training mode"):
        ipex_quant.prepare(nn.Linear(4, 4).train(), default_static_qconfig, torch.randn(2, 4))
    partly = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).eval()
    partly[1].train()
    with pytest.raises(ValueError, match=r"training mode \('1'\)"):
        ipex_quant.prepare(partly, default_static_qconfig, torch.randn(2, 4))


def test_wrong_example_inputs_are_refused() -> None:
    model = nn.Linear(4, 4)
    x = torch.randn(2, 4)
    with pytest.raises(ValueError, match="needs example_inputs"):
        prepare(model)
    with pytest.raises(ValueError, match="not both"):
        prepare(model, x, example_kwarg_inputs={"input": x})
    with pytest.raises(TypeError, match="must be a dict, got list"):
        prepare(model, example_kwarg_inputs=[x])
    with pytest.raises(TypeError, match="must be a tensor, a dict, or a tuple or list"):
        prepare(model, 3)
    with pytest.raises(
        ValueError, match=r"does not run on the example inputs \(torch.float32 \[2, 5\]\)"
    ):
        prepare(model, torch.randn(2, 5))
