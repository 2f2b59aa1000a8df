"""float_dtype=torch.bfloat16: what stays float runs in bfloat16 where the CPU has it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QConfigMapping, jit, targets


class Net(nn.Module):
    """Layers of every kind that bfloat16 takes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.second = nn.Conv2d(16, 16, 3)
        self.lstm = nn.LSTM(16, 32, batch_first=True)
        self.linear = nn.Linear(32, 16)
        self.last = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.second(torch.relu(self.conv(x)))
        x = self.lstm(x.flatten(2).transpose(1, 2))[0]
        x = torch.tanh(self.linear(x))
        return self.last(x @ x.transpose(1, 2) @ x)


def data(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def prepared(*floats: str) -> nn.Module:
    torch.manual_seed(0)
    mapping = QConfigMapping().set_global(ipex_quant.default_static_qconfig)
    for name in floats:
        mapping.set_module_name(name, None)
    ready = ipex_quant.prepare(Net().eval(), mapping, data())
    for seed in range(3):
        ready(data(seed))
    return ready


@pytest.fixture
def capable(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch computes bfloat16 on any CPU, if slowly."""
    monkeypatch.setattr(targets, "has_bfloat16", lambda: True)


FLOATS = ("", "conv", "second", "lstm", "linear")


def rows(module: Any) -> dict[tuple[str, str], Any]:
    return {(r.module, r.op): r for r in ipex_quant.report(module)}


@pytest.mark.usefixtures("capable")
def test_what_stays_float_is_bfloat16() -> None:
    ready = prepared(*FLOATS)
    lowered = ipex_quant.convert(ready, float_dtype=torch.bfloat16)
    found = rows(lowered)
    for module, op in (
        ("conv", "aten::conv2d"),
        ("second", "aten::conv2d"),
        ("lstm", "aten::lstm"),
        ("linear", "aten::linear"),
        ("", "aten::matmul"),
    ):
        row = found[module, op]
        assert (row.became, row.kernel) == ("float", f"{op} in bfloat16"), module
        assert row.reason == f"kept float by set_module_name({module!r})"
    x = data(7)
    plain = ipex_quant.convert(ready)
    with torch.no_grad():
        ours, exact = lowered(x), plain(x)
    assert ours.dtype == torch.float32
    error = float((ours - exact).norm() / exact.norm())
    assert 1e-5 < error < 0.03
    assert not [r for r in ipex_quant.report(plain) if "bfloat16" in r.kernel]


@pytest.mark.usefixtures("capable")
def test_int8_stays_int8() -> None:
    ready = prepared("conv")
    lowered, plain = (
        ipex_quant.convert(ready, float_dtype=dtype) for dtype in (torch.bfloat16, None)
    )
    became = [(r.became, r.module) for r in ipex_quant.report(lowered)]
    assert became == [(r.became, r.module) for r in ipex_quant.report(plain)]
    assert rows(lowered)["conv", "aten::conv2d"].kernel == "aten::conv2d in bfloat16"
    assert rows(lowered)["second", "aten::conv2d"].kernel.startswith("ipex_quant::conv")


@pytest.mark.usefixtures("capable")
def test_autocast_asks_for_it() -> None:
    ready = prepared("linear")
    x = data(7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = ipex_quant.convert(ready)
        plain = ipex_quant.convert(ready, float_dtype=torch.float32)
    explicit = ipex_quant.convert(ready, float_dtype=torch.bfloat16)
    assert torch.equal(cast(x), explicit(x))
    assert torch.equal(plain(x), ipex_quant.convert(ready)(x))
    assert not torch.equal(cast(x), plain(x))


@pytest.mark.usefixtures("capable")
def test_two_float_layers_have_no_float32_between_them() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x))

    nothing = QConfigMapping().set_object_type(nn.Linear, None)
    ready = ipex_quant.prepare(Two().eval(), nothing, torch.randn(4, 8))
    traced = torch.jit.trace(ready, torch.randn(4, 8))
    lowered = jit.quantize(traced, float_dtype=torch.bfloat16)
    kinds = [n.kind() for n in lowered.graph.nodes() if not n.kind().startswith("prim::")]
    assert kinds == ["aten::to", "aten::linear", "aten::linear", "aten::to"]


def test_a_cpu_without_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    ready = prepared("linear")
    with pytest.warns(UserWarning, match=r"no bfloat16 arithmetic .* is float32"):
        kept = ipex_quant.convert(ready, float_dtype=torch.bfloat16)
    x = data(7)
    assert torch.equal(kept(x), ipex_quant.convert(ready)(x))


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16"])
def test_either_instruction_set_will_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {name: True})
    assert targets.has_bfloat16()
