"""Models whose trace has other calls than a run has: sizes that are tensors in one of them, calls
that the tracer drops as dead."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import state


class Linear(nn.Module):
    """What the models here have to quantize."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)


class Sized(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        return x.flatten(1, 2), (x.size(1), x.size(2))


class WindowPadding(Linear):
    """As Swin pads to whole windows, with sizes that another module returned in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.sized = Sized()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, (height, width) = self.sized(x)
        y = y.view(-1, height, width, 8)
        y = nn.functional.pad(y, (0, 0, 0, (3 - width % 3) % 3, 0, (3 - height % 3) % 3))
        rows = height * width
        return (self.fc(y) * y.sigmoid()).flatten(1, 2)[:, :rows]


class WindowSize(Linear):
    """As Swin takes the smaller side for its window, in a tensor of two known sizes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        window = torch.min(torch.tensor((x.size(1), 3)))
        rows = int(window - 7 % window)
        return self.fc(x[:, :rows]) * x[:, :rows].sigmoid()


class Positions(Linear):
    """Arithmetic on several integers is counted in both."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.tensor([0, 1]) * 2
        return self.fc(x[:, rows]) * x[:, rows].sigmoid()


class ScaledSize(Linear):
    """As DeBERTa scales its scores: a tensor of a size, multiplied, and its root."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = torch.sqrt(torch.tensor(x.size(-1), dtype=torch.float) * 3)
        two = torch.tensor(1.5) * torch.tensor(2.0)
        return self.fc(x) * x.sigmoid() / scale * two


class OwnNumber(Linear):
    """A parameter of no dimension is none of these numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) * x.sigmoid() * self.temperature.exp()


@torch.jit.script_if_tracing
def gated(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x * y.sigmoid()


class ScriptedFunction(Linear):
    """The function's own product has no site, the one behind it has the first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return gated(self.fc(x), x) * x.sigmoid()


@torch.jit.script_if_tracing
def relative(rows, columns, table):  # type: ignore[no-untyped-def]
    """Unannotated: its sizes are tensors, as they are in a trace."""
    distance = torch.arange(rows)[:, None] * 1.0 - torch.arange(columns)[None, :]
    return table[(distance + (columns - 1)).long()]


class ScriptedSizes(Linear):
    """As VitDet: the function that gets sizes is scripted in a trace, and has no sites there."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(15))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x) * 1.5
        bias = relative(x.size(-1), columns=x.size(-1), table=self.table)
        return y * (y - bias.sum(0)) + x


class SizesMustBeTensors(Linear):
    """As MobileViT: the branch for tracing does not run outside of a trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[1] / 2
        n = torch.ceil(half).int() if torch.jit.is_tracing() else math.ceil(half)
        return self.fc(x[:, :n]) * x[:, :n].sigmoid()


class Attention(Linear):
    """The weights that nn.MultiheadAttention averages are not used: the trace has no mean."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x).flatten(1, 2)
        return self.attention(y, y, y)[0]


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x * x.sigmoid()


class OwnFunction(Linear):
    """An autograd function is one operator of the trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Swish.apply(self.fc(x)).exp()


class DeadCall(Linear):
    """The first of two products is dead: the second has its number in the trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _ = x * (1000 * x.sigmoid())
        return self.fc(x) * x.tanh()


class DeadLinear(Linear):
    """A layer that is called for nothing and for a write into what is not used, then in earnest."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.fc(100 * x)
        lost = torch.zeros_like(x)
        lost[:, 0] = torch.tanh(50 * x)[:, 0]
        kept = torch.zeros_like(x)
        kept[:, 0] = self.fc(x)[:, 0]
        return self.fc(x) + kept


class Wanted(nn.Module):
    """Gives its caller more than that uses."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        _ = x * x.sigmoid()
        return self.a(x) * 2.0, self.b(x) * x.tanh()


class DeadResult(Linear):
    """A result of a module that only a dead call of its caller uses is still in its trace."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Wanted()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, z = self.inner(self.fc(x))
        _ = y + z
        return self.fc(z) + x


class Cached(Linear):
    """Keeps what it made of a size; the tracer's sizes are tensors, so it is made anew."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[object, torch.Tensor] = {}

    def positions(self, n: int) -> torch.Tensor:
        if n not in self.known:
            self.known[n] = torch.arange(n).float() * 0.1 * (1 + torch.arange(n))
        return self.known[n]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.fc(x) + self.positions(x.size(-1))) * x.tanh()


class CachedWithBuffer(Cached):
    """As EfficientLoFTR: frequencies that are a buffer times positions."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.linspace(0.1, 1, 8))

    def positions(self, n: int) -> torch.Tensor:
        if n not in self.known:
            self.known[n] = torch.arange(n) * self.frequency * 0.2
        return self.known[n]


class CachedInPart(Cached):
    """As DINOv3: what it makes of the kept positions is computed in every run."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.positions(x.size(-1)).unsqueeze(0) * 2.0
        return (self.fc(x) + rows) * x.tanh()


class SizesInBuffers(Linear):
    """As Encodec: sizes of the layer are buffers, that of the input is a number or a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("stride", torch.tensor(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.size(-2)
        frames = torch.ceil((length - self.stride + 1) / self.stride).to(torch.int64)
        extra = (frames * self.stride + 2) - length
        x = nn.functional.pad(x, (0, 0, 0, extra))
        return self.fc(x) - x.tanh()


class Empty(Linear):
    """As rotary embeddings of whole heads: what is left of a head is empty."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.cat([x[..., :8], x[..., 8:]], -1))


def quantize(net: nn.Module, x: torch.Tensor) -> torch.jit.ScriptModule:
    """Calibrated on four batches, the last one being the one traced."""
    prepared = ipex_quant.prepare(net, ipex_quant.default_static_qconfig, example_inputs=x)
    with torch.no_grad():
        for batch in (*(torch.randn_like(x) for _ in range(3)), x):
            prepared(batch)
        return ipex_quant.jit.quantize(torch.jit.trace(prepared, x, check_trace=False))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")
@pytest.mark.parametrize(
    "model",
    [
        *(WindowPadding, ScaledSize, OwnNumber, ScriptedFunction, SizesMustBeTensors),
        *(ScriptedSizes, WindowSize, Positions, Attention, OwnFunction, Empty),
        *(DeadCall, DeadLinear, DeadResult, Cached, CachedInPart, SizesInBuffers, CachedWithBuffer),
    ],
)
def test_quantizes(model: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = model().eval()
    x = torch.randn(2, 5, 7, 8)
    quantized = quantize(net, x)
    with torch.no_grad():
        expected, got = net(x), quantized(x)
    assert (got - expected).norm() / expected.norm() < 0.02
    rows = [row for row in ipex_quant.report(quantized) if row.op == "aten::linear"]
    assert {row.became for row in rows if row.became != "removed"} == {"int8"}
    assert torch.jit.is_tracing() is False


@pytest.mark.parametrize(
    ("model", "sites"),
    [
        (Attention, {"attention/mean/0": "the trace drops this call"}),
        (
            OwnFunction,
            {
                "/sigmoid/0": "the trace drops this call",
                "/mul/0": "the trace drops this call",
            },
        ),
        (OwnNumber, {}),
    ],
)
def test_the_report_names_the_sites_that_a_trace_forgets(
    model: type[nn.Module], sites: dict[str, str]
) -> None:
    quantized = quantize(model().eval(), torch.randn(2, 5, 7, 8))
    report = ipex_quant.report(quantized)
    assert {s.site: s.reason.split(":")[0] for s in report.untraced} == sites
    assert report.to_dict()["untraced"] == [
        {"site": s.site, "reason": s.reason} for s in report.untraced
    ]
    lines = str(report).splitlines()
    for site, reason in sites.items():
        assert any(site in line and reason in line for line in lines)
    assert ("calibrated, but not in the trace" in str(report)) == bool(sites)


def test_ranges_belong_to_the_calls_that_a_trace_keeps() -> None:
    """The sites of a trace are numbered without the dead calls; autotune knows both numbers."""
    prepared = ipex_quant.prepare(
        DeadLinear().eval(), ipex_quant.default_static_qconfig, example_inputs=torch.ones(2, 5, 8)
    )
    x = torch.randn(2, 5, 8)
    prepared(x)
    traced = torch.jit.trace(prepared, x, check_trace=False)
    summary = state.read_buffer(traced)
    linears = [e for e in summary["sites"] if "/linear/" in e["site"]]
    assert [e["site"] for e in linears] == ["fc/linear/0", "fc/linear/1"]
    assert [state.calibrated_site(e) for e in linears] == ["fc/linear/1", "fc/linear/2"]
    scale = float(x.max() - x.min()) / 255
    assert all(e["operands"]["input"]["scale"] <= scale * 1.01 for e in linears)
    assert {"fc/linear/0", "/tanh/0"} <= set(summary["untraced"])
    report = ipex_quant.report(ipex_quant.jit.quantize(traced))
    assert [s.site for s in report.untraced] == summary["untraced"]


def test_a_trace_of_other_calls_than_those_of_calibration_is_an_error() -> None:
    class Turns(Linear):
        turn = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.fc(x)
            return y.sigmoid() * y if self.turn else y.sigmoid() * y * x

    model = Turns().eval()
    prepared = ipex_quant.prepare(
        model, ipex_quant.default_static_qconfig, example_inputs=torch.randn(2, 8), inplace=True
    )
    prepared(torch.randn(2, 8))
    model.turn = 1
    traced = torch.jit.trace(prepared, torch.randn(2, 8), check_trace=False)
    with pytest.raises(ipex_quant.QuantizationError, match="only in the calibration: '/mul/1'"):
        ipex_quant.jit.quantize(traced)


def test_an_error_of_the_model_is_reported() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.no_such_method()

    with pytest.raises(ValueError, match=r"does not run on the example.*no_such_method"):
        ipex_quant.prepare(
            Broken().eval(), ipex_quant.default_static_qconfig, example_inputs=torch.randn(2)
        )
