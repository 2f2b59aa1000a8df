"""Traces of models that torch quantized: their own qparams, our int8 kernels, torch's numbers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QConfigMapping, QuantizationError
from quantized_models import assert_steps, compiled, kinds

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.ao import quantization as theirs
    from torch.ao.quantization import quantize_fx
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  registers its operators

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

Q = torch.ops.quantized_decomposed


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """FBGEMM: torch's default for x86 computes deconvolutions with oneDNN, wrongly on some CPUs."""
    monkeypatch.setattr(torch.backends.quantized, "engine", "fbgemm")


class Net(nn.Module):
    """Convolutions with and without batch norm, a residual addition, cat, pools and a linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.linear = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv1(x)))
        y = self.conv2(x)
        z = torch.cat([torch.relu(x + y), y], 1)
        z = nn.functional.max_pool2d(z, 2)
        return self.linear(z[:, :8].mean((2, 3)))


class Mlp(nn.Module):
    """Linear layers with the activations that torch quantizes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(12, 16), nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.hardswish(self.a(x))
        y = nn.functional.leaky_relu(self.b(x), 0.1)
        return torch.sigmoid(self.c(x * y))


class Signal(nn.Module):
    """Convolutions in one dimension, elu, a norm and a product of two activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv1d(3, 8, 3, padding=1), nn.ConvTranspose1d(8, 6, 2, stride=2)
        self.norm, self.a, self.b = nn.LayerNorm(32), nn.Linear(32, 8), nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.elu(self.up(torch.relu(self.conv(x))))
        x = self.norm(x)
        return nn.functional.relu6(self.a(x) * self.b(x))


def signal(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 3, 16, generator=torch.Generator().manual_seed(seed))


def image(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def rows(seed: int = 0) -> torch.Tensor:
    return torch.randn(32, 12, generator=torch.Generator().manual_seed(seed))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(1)
    model = make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, -1.5, 1.5)  # channels of both signs
    return model.eval()


def calibrated(make: Callable[[], nn.Module], data: Callable[[int], torch.Tensor]) -> nn.Module:
    mapping = theirs.get_default_qconfig_mapping("x86")
    ready = quantize_fx.prepare_fx(seeded(make), mapping, (data(0),))
    for seed in range(3):
        ready(data(seed))
    return ready


def trained(make: Callable[[], nn.Module], data: Callable[[int], torch.Tensor]) -> nn.Module:
    """After some steps of quantization-aware training, with its observers off."""
    mapping = theirs.get_default_qat_qconfig_mapping("x86")
    ready = quantize_fx.prepare_qat_fx(seeded(make).train(), mapping, (data(0),))
    optimizer = torch.optim.SGD(ready.parameters(), lr=0.01)
    for seed in range(4):
        ready(data(seed)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return ready.eval().apply(theirs.disable_observer)


def last_scale(quantized: Any) -> float:
    """Scale of the dequantize that gives the output."""
    node = next(quantized.graph.outputs()).node()
    assert node.kind() == "ipex_quant::dequantize"
    return node.inputsAt(1).toIValue()


CONVERTED = {
    "native": quantize_fx.convert_fx,
    "reference": quantize_fx.convert_to_reference_fx,
}


@pytest.mark.parametrize("form", list(CONVERTED))
@pytest.mark.parametrize(("make", "data"), [(Net, image), (Mlp, rows), (Signal, signal)])
def test_fx(form: str, make: Callable[[], nn.Module], data: Callable[[int], torch.Tensor]) -> None:
    model = CONVERTED[form](calibrated(make, data))
    x = data(7)
    quantized = compiled(model, data(0))
    with torch.no_grad():
        assert_steps(quantized(x), model(x), last_scale(quantized), 0.1)
    found = kinds(quantized)
    assert not [k for k in found if k.startswith(("aten::quantize", "quantized::", "aten::conv"))]
    assert "aten::linear" not in found and "aten::dequantize" not in found
    # The two linears that read one input are one product.
    count = [found.count(f"ipex_quant::{name}") for name in ("conv", "linear")]
    assert count == {Net: [2, 1], Mlp: [0, 3], Signal: [2, 1]}[make]


def test_report_of_fx() -> None:
    model = CONVERTED["reference"](calibrated(Net, image))
    found = ipex_quant.report(compiled(model, image()))
    by_module = {(r.module, r.op): r for r in found}
    for module in ("conv1", "conv2"):
        row = by_module[module, "aten::conv2d"]
        assert (row.became, row.kernel.split(" ")[0]) == ("int8", "ipex_quant::conv")
    row = by_module["linear", "aten::linear"]
    assert (row.became, row.kernel.split(" ")[0]) == ("int8", "ipex_quant::linear")
    assert by_module["", "aten::add"].became == "int8"
    assert by_module["", "aten::max_pool2d"].kernel == "ipex_quant::max_pool"
    weights = [r for r in found if r.op == "aten::quantize_per_channel"]
    assert {r.became for r in weights} == {"removed"}


@pytest.mark.parametrize(("make", "data"), [(Net, image), (Mlp, rows)])
def test_quantization_aware_training(
    make: Callable[[], nn.Module], data: Callable[[int], torch.Tensor]
) -> None:
    model = trained(make, data)
    x = data(7)
    quantized = compiled(model, data(0))
    with torch.no_grad():
        assert_steps(quantized(x), model(x), last_scale(quantized), 0.1)
    found = kinds(quantized)
    assert not [k for k in found if "fake" in k or k in ("aten::batch_norm", "aten::div")]
    assert found.count("ipex_quant::conv") == (2 if make is Net else 0)
    assert found.count("ipex_quant::linear") == (1 if make is Net else 3)


def test_reduced_ranges_are_kept() -> None:
    """The default of training for x86 has codes 0..127: larger values take 127."""
    model = trained(Mlp, rows)
    with torch.no_grad():
        large = 10 * rows(3)
        quantized = compiled(model, rows())
        assert_steps(quantized(large), model(large), last_scale(quantized), 0.1)
    # The clamp is in the epilogue, or once in front of the model's input.
    assert kinds(quantized).count("aten::clamp") <= 1


def test_an_observer_that_is_on_is_named() -> None:
    model = trained(Mlp, rows).apply(theirs.enable_observer)
    with pytest.raises(QuantizationError, match="disable_observer"):
        compiled(model, rows())


def test_fake_quantization_that_is_off_goes() -> None:
    model = trained(Mlp, rows)
    plain = copy.deepcopy(model).apply(theirs.disable_fake_quant)
    model.a.weight_fake_quant.apply(theirs.disable_fake_quant)
    quantized = compiled(model, rows())
    reasons = {r.module: r for r in ipex_quant.report(quantized) if r.op == "aten::linear"}
    assert reasons["a"].became == "float" and reasons["b"].became == "int8"
    assert reasons["a"].reason == "its weight is float"
    with pytest.raises(QuantizationError, match="has no qparams"):
        compiled(plain, rows())


class Exported(nn.Module):
    """What PT2E makes of a convolution with relu and a linear layer."""

    def __init__(self, signed: bool, low: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.signed, self.low = signed, low
        for name, shape in (("conv", (6, 3, 3, 3)), ("linear", (5, 6))):
            weight = torch.randn(*shape, generator=generator)
            scale = weight.abs().flatten(1).amax(1) / 127
            zero = torch.zeros(shape[0], dtype=torch.int64)
            codes = Q.quantize_per_channel(weight, scale, zero, 0, low, 127, torch.int8)
            self.register_buffer(f"{name}_codes", codes)
            self.register_buffer(f"{name}_scale", scale)
            self.register_buffer(f"{name}_zero", zero)
            self.register_buffer(f"{name}_bias", torch.randn(shape[0], generator=generator))

    def pair(self, x: torch.Tensor, scale: float, zero: int) -> torch.Tensor:
        shift, dtype = (-128, torch.int8) if self.signed else (0, torch.uint8)
        qparams = (scale, zero + shift, shift, 255 + shift, dtype)
        return Q.dequantize_per_tensor(Q.quantize_per_tensor(x, *qparams), *qparams)

    def weight(self, name: str) -> torch.Tensor:
        get = lambda part: getattr(self, f"{name}_{part}")  # noqa: E731
        return Q.dequantize_per_channel(
            get("codes"), get("scale"), get("zero"), 0, self.low, 127, torch.int8
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pair(x, 0.03, 120)
        x = torch.relu(torch.conv2d(x, self.weight("conv"), self.conv_bias, padding=1))
        x = self.pair(x, 0.05, 0)
        x = self.pair(x.mean((2, 3)), 0.05, 0)
        x = nn.functional.linear(x, self.weight("linear"), self.linear_bias)
        return self.pair(x, 0.1, 128)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("low", [-128, -127])
def test_pt2e(signed: bool, low: int) -> None:
    model = Exported(signed, low).eval()
    quantized = compiled(model, image())
    x = image(5)
    assert_steps(quantized(x), model(x), 0.1, 0.2)
    found = kinds(quantized)
    assert not [k for k in found if k.startswith("quantized_decomposed")]
    assert found.count("ipex_quant::conv") == found.count("ipex_quant::linear") == 1


class WeightOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 6)
        self.second = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.linear.weight
        fake = torch.fake_quantize_per_tensor_affine(w, 0.01, 0, -128, 127)
        x = nn.functional.linear(x, fake, self.linear.bias)
        x = torch.fake_quantize_per_tensor_affine(x, 0.02, 128, 0, 255)
        zeros = torch.zeros(6, dtype=torch.int32)
        columns = self.second.weight.detach().abs().amax(0) / 127
        fake = torch.fake_quantize_per_channel_affine(
            self.second.weight, columns, zeros, 1, -128, 127
        )
        return nn.functional.linear(x, fake, self.second.bias)


def test_what_the_graph_leaves_float_stays_float() -> None:
    torch.manual_seed(0)
    model = WeightOnly().eval()
    quantized = compiled(model, torch.randn(4, 8))
    x = torch.randn(4, 8)
    with torch.no_grad():
        torch.testing.assert_close(quantized(x), model(x))
    linears = [r for r in ipex_quant.report(quantized) if r.op == "aten::linear"]
    assert [r.became for r in linears] == ["float", "float"]
    assert linears[0].reason == "the traced graph quantizes its weight alone"
    assert linears[1].reason == "the scales of its weight run along another dimension"


def test_a_weight_with_zero_points_stays_float() -> None:
    class Asymmetric(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.fake_quantize_per_tensor_affine(x, 0.02, 128, 0, 255)
            fake = torch.fake_quantize_per_tensor_affine(weight, 0.01, 7, -128, 127)
            return nn.functional.linear(x, fake)

    weight = torch.randn(6, 8, generator=torch.Generator().manual_seed(2))
    model = Asymmetric().eval()
    quantized = compiled(model, torch.randn(4, 8))
    x = torch.randn(4, 8)
    torch.testing.assert_close(quantized(x), model(x))
    row = next(r for r in ipex_quant.report(quantized) if r.op == "aten::linear")
    assert (row.became, row.reason) == ("float", "its weight is float")


def test_a_rule_that_keeps_float_what_the_graph_quantizes_is_an_error() -> None:
    model = CONVERTED["reference"](calibrated(Mlp, rows))
    traced = torch.jit.trace(model, rows())
    mapping = QConfigMapping().set_global(ipex_quant.default_static_qconfig)
    assert "ipex_quant::linear" in kinds(ipex_quant.jit.quantize(traced, mapping))
    mapping.set_module_name("b", None)
    with pytest.raises(ValueError, match=r"set_module_name\('b'\) keeps 'b/linear/0' float, but"):
        ipex_quant.jit.quantize(traced, mapping)


def test_calibration_adds_to_what_the_graph_quantizes() -> None:
    model = WeightOnly().eval()
    traced = torch.jit.trace(model, torch.randn(4, 8))

    class Behind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.front, self.last = model, nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.front(x))

    traced = torch.jit.trace(Behind().eval(), torch.randn(4, 8))
    data = [torch.randn(16, 8) for _ in range(2)]
    quantized = ipex_quant.jit.quantize(traced, calibration_data=data)
    rows_by = {r.module: r for r in ipex_quant.report(quantized) if r.op == "aten::linear"}
    assert rows_by["last"].became == "int8"


def test_it_saves_and_loads(tmp_path: Any) -> None:
    model = trained(Net, image)
    quantized = compiled(model, image())
    quantized.save(tmp_path / "q.pt")
    x = image(4)
    with torch.no_grad():
        assert torch.equal(ipex_quant.jit.load(tmp_path / "q.pt")(x), quantized(x))
