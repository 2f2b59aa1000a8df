"""mode="portable": torch's operators alone, int8's numbers, and the way back to our kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import jit
from portable_files import check_alone


class Net(nn.Module):
    """A convolution net with a residual addition, a pool and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2)
        self.linear = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.a(x))
        x = torch.relu(self.b(x) + x)
        return self.linear(nn.functional.gelu(self.up(x)).mean((2, 3)))


class Attention(nn.Module):
    """One head of attention with a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))
        self.out = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        scores = self.q(y) @ self.k(y).transpose(1, 2) / 4
        return x + self.out(scores.softmax(-1) @ self.v(y))


class Table(nn.Module):
    """An embedding and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.linear = nn.Embedding(20, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.table(x))


def image(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def tokens(seed: int) -> torch.Tensor:
    return torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(seed))


def words(seed: int) -> torch.Tensor:
    return torch.randint(20, (4, 6), generator=torch.Generator().manual_seed(seed))


MODELS: list[tuple[Callable[[], nn.Module], Callable[[int], torch.Tensor]]] = [
    (Net, image),
    (Attention, tokens),
    (Table, words),
]


def traced(
    make: Callable[[], nn.Module],
    data: Callable[[int], torch.Tensor],
    qconfig: Any = ipex_quant.default_static_qconfig,
) -> Any:
    torch.manual_seed(0)
    model = make().eval()
    prepared = ipex_quant.prepare(model, qconfig, data(0))
    for seed in range(4):
        prepared(data(seed))
    return torch.jit.trace(prepared, data(0))


def kinds(module: Any) -> list[str]:
    found = (node.kind() for node in module.graph.nodes())
    return [kind for kind in found if not kind.startswith("prim::")]


@pytest.mark.parametrize(("make", "data"), MODELS)
def test_the_numbers_are_those_of_int8(
    make: Callable[[], nn.Module], data: Callable[[int], torch.Tensor]
) -> None:
    trace = traced(make, data)
    int8, portable = jit.quantize(trace), jit.quantize(trace, mode="portable")
    assert not [kind for kind in kinds(portable) if not kind.startswith("aten::")]
    x = data(9)
    with torch.no_grad():
        ours, theirs, plain = int8(x), portable(x), make_float(make)(x)
    # Both round to the same codes (measured: 7e-8 apart); int8 is 0.002 to 0.009 from float.
    assert float((ours - theirs).norm() / plain.norm()) < 1e-6
    assert float((ours - plain).norm() / plain.norm()) > 1e-3


class Rows(nn.Module):
    """Two linear layers and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(16, 64), nn.Linear(64, 16), nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.down(nn.functional.gelu(self.up(x))))


def rows_of_all_sizes(seed: int) -> torch.Tensor:
    """The largest has 2000 times the values of the least; one is zero, two have one sign."""
    x = tokens(seed) * torch.exp2(torch.linspace(-5, 6, 12)).view(2, 6, 1)
    x[0, 0] = 0
    x[0, 1].abs_()
    x[0, 2].abs_().neg_()
    return x


def test_rows_are_rounded_as_the_kernel_rounds_them() -> None:
    """Two linear layers with a scale per row in a static model: the same codes, and back."""
    mapping = ipex_quant.QConfigMapping().set_global(ipex_quant.default_static_qconfig)
    mapping.set_object_type(nn.Linear, ipex_quant.default_dynamic_qconfig)
    trace = traced(Rows, rows_of_all_sizes, mapping)
    int8, portable = jit.quantize(trace), jit.quantize(trace, mode="portable")
    assert kinds(int8)[:2] == ["ipex_quant::linear_dynamic"] * 2
    assert not [kind for kind in kinds(portable) if not kind.startswith("aten::")]
    bound = jit.quantize(portable)
    assert kinds(bound) == kinds(int8)
    with torch.no_grad():
        for seed in (9, 10, 11):
            x = rows_of_all_sizes(seed)
            ours, plain = int8(x), make_float(Rows)(x)
            assert float((ours - portable(x)).norm() / plain.norm()) < 1e-6
            torch.testing.assert_close(ours, bound(x), rtol=0, atol=0)
            assert float((ours - plain).norm() / plain.norm()) > 1e-3
    reasons = [row.reason for row in ipex_quant.report(portable) if row.op == "aten::linear"]
    assert reasons == ["portable: float32 arithmetic on values rounded as int8 rounds them"] * 2


def make_float(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


@pytest.mark.parametrize(("make", "data"), MODELS)
def test_a_portable_file_can_be_bound_again(
    make: Callable[[], nn.Module], data: Callable[[int], torch.Tensor], tmp_path: Path
) -> None:
    trace = traced(make, data)
    jit.quantize(trace, mode="portable").save(tmp_path / "p.pt")
    bound = jit.quantize(torch.jit.load(tmp_path / "p.pt"))
    direct = jit.quantize(trace)
    x = data(9)
    torch.testing.assert_close(bound(x), direct(x), rtol=1e-5, atol=1e-6)
    ours = [kind for kind in kinds(direct) if kind.startswith("ipex_quant::")]
    assert [kind for kind in kinds(bound) if kind.startswith("ipex_quant::")] == ours


@pytest.mark.slow
def test_it_runs_without_the_package(tmp_path: Path) -> None:
    check_alone(jit.quantize(traced(Net, image), mode="portable"), image(9), tmp_path)


def test_a_plain_int8_module_cannot_be_given_again() -> None:
    with pytest.raises(ipex_quant.QuantizationError, match="the module is quantized already"):
        jit.quantize(jit.quantize(traced(Table, words)))


def test_convert_makes_portable_modules() -> None:
    torch.manual_seed(0)
    prepared = ipex_quant.prepare(Table().eval(), ipex_quant.default_static_qconfig, words(0))
    prepared(words(1))
    portable = ipex_quant.convert(prepared, mode="portable")
    assert all(k.startswith("aten::") for k in kinds(portable.compiled))
    row = next(r for r in ipex_quant.report(portable) if r.op == "aten::linear")
    assert (row.became, row.kernel) == ("float", "")
    assert row.reason.startswith("portable: float32 arithmetic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "fast"}, "mode must be 'int8' or 'portable', got 'fast'"),
        ({"float_dtype": torch.float16}, "float_dtype must be torch.float32 or torch.bfloat16"),
        ({"mode": "portable", "float_dtype": torch.bfloat16}, "portable' keeps float32"),
        ({"mode": "portable", "fusions": [1]}, "portable' fuses nothing"),
    ],
)
def test_wrong_arguments_are_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        jit.quantize(torch.jit.trace(nn.ReLU().eval(), torch.randn(2)), **arguments)


def test_a_dynamic_model_takes_no_float_dtype() -> None:
    model, x = nn.Linear(4, 4).eval(), torch.ones(2, 4)
    prepared = ipex_quant.prepare(model, ipex_quant.default_dynamic_qconfig, example_inputs=x)
    with pytest.raises(ValueError, match=r"has no float_dtype.*under torch.autocast"):
        ipex_quant.convert(prepared, float_dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="mode must be 'int8' or 'portable', got 'fast'"):
        ipex_quant.convert(prepared, mode="fast")
