"""The eager recorder and the pass over the trace name the same calls."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eager_sites import eager_sites
from ipex_quant import _C


def trace(model: nn.Module, *inputs: object) -> torch.jit.ScriptModule:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return torch.jit.trace(model, inputs, check_trace=False)


@pytest.fixture(autouse=True)
def slow_path():
    """The eager transformer fast path is one operator; prepared models turn it off."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.fc(x)) + x


class Shared(nn.Module):
    """Containers, a module called twice, and modules that are reachable under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.seq = nn.Sequential(Block(), nn.Linear(4, 4), nn.ReLU(inplace=True))
        self.parts = nn.ModuleList([nn.Linear(4, 4), Block()])
        self.same = self.seq[1]
        self.holder = nn.Module()
        self.holder.again = self.parts[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.seq(x)
        x = self.parts[0](x)
        x = self.parts[1](self.parts[1](x))
        x = self.holder.again(self.same(x))
        return F.linear(input=x, weight=self.parts[0].weight)


class Operators(nn.Module):
    """Operators, in-place forms, keyword arguments, integers, shape arithmetic, composites."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x @ x.transpose(-1, -2)
        y += 1
        y *= y.shape[-1] * 2
        y = torch.multiply(y, y.size(0) ** -0.5)
        y = torch.einsum("bij,bjk->bik", y, y)
        y = y.view(y.shape[0], -1, y.shape[1] * y.shape[2] // 4)
        index = torch.arange(y.shape[1]) + 1
        y = torch.concat(tensors=[y, y], dim=1).mean(1, keepdim=True) + self.embedding(index)
        return torch.add(input=y, other=y, alpha=2).clamp_(min=-1, max=6)


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 8, 2, padding="same")
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, padding_mode="reflect")
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(F.relu_(self.depthwise(self.same(x))))
        return F.adaptive_avg_pool2d(F.max_pool2d(F.hardswish(x), 2), 1)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True)
        self.cell = nn.LSTMCell(10, 6)
        self.gru_cell = nn.GRUCell(6, 3)
        self.gru = nn.GRU(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lstm(x)[0]
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.gru(self.gru_cell(state[0]).unsqueeze(0))[0]


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x)  # with its weights


MODELS = {
    "shared": (Shared, (2, 3, 4)),
    "operators": (Operators, (2, 4, 4)),
    "convolutions": (Convolutions, (1, 3, 8, 8)),
    "recurrent": (Recurrent, (2, 3, 4)),
    "attention": (SelfAttention, (2, 5, 16)),
    "encoder": (
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 2, 32), 2, enable_nested_tensor=False
        ),
        (5, 2, 16),
    ),
    "encoder layer": (
        lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True),
        (2, 5, 16),
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", MODELS)
def test_eager_and_trace_agree(name: str, reload) -> None:
    make, shape = MODELS[name]
    model, x = make().eval(), torch.randn(shape)
    expected = [site for site, _ in eager_sites(model, x)]
    assert len(expected) > 2
    traced = trace(model, x)
    before = str(traced.inlined_graph)
    module, sites = _C.normalize(traced._c)
    assert sites == expected
    assert str(traced.inlined_graph) == before, "normalize changed its input"
    assert _C.normalize(reload(traced)._c)[1] == expected
    with torch.no_grad():
        wrapped = torch.jit._recursive.wrap_cpp_module(module)
        torch.testing.assert_close(wrapped(x), model(x), rtol=1e-4, atol=1e-5)


def test_paths() -> None:
    """The exact keys: containers, repeated calls, the name the tracer gives a shared module."""
    _, sites = _C.normalize(trace(Shared().eval(), torch.randn(2, 4))._c)
    assert sites == [
        "seq.0.fc/linear/0", "seq.0/relu/0", "seq.0/add/0", "same/linear/0", "seq.2/relu/0",
        "parts.0/linear/0",
        "holder.again.fc/linear/0", "holder.again/relu/0", "holder.again/add/0",
        "holder.again.fc/linear/1", "holder.again/relu/1", "holder.again/add/1",
        "same/linear/1",
        "holder.again.fc/linear/2", "holder.again/relu/2", "holder.again/add/2",
        "/linear/0",
    ]  # fmt: skip


def test_frozen_trace_has_one_path() -> None:
    frozen = torch.jit.freeze(trace(Shared().eval(), torch.randn(2, 4)))
    _, sites = _C.normalize(frozen._c)
    assert {site.split("/")[0] for site in sites} == {""}
    assert len(sites) == 17


class Scripted(nn.Module):
    """Control flow and state that freezing must leave alone."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1
        if x.sum() > 0:
            x = torch.relu(self.fc(x))
        return x + self.calls


@torch.jit.script
def scripted_function(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x) * 2


class WithScript(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.script = torch.jit.script(Scripted())
        self.block = Block()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scripted_function(self.block(self.script(x)))


def test_scripted_code_has_no_sites() -> None:
    model, x = WithScript().eval(), torch.rand(2, 4)
    expected = ["block.fc/linear/0", "block/relu/0", "block/add/0"]
    assert [site for site, _ in eager_sites(model, x)] == expected
    traced = trace(model, x)
    module, sites = _C.normalize(traced._c, ["script"])
    assert sites == expected
    wrapped = torch.jit._recursive.wrap_cpp_module(module)
    for sign in (1, -1, 1):  # both branches, and a counter that goes on
        calls = traced.script.calls
        wrapped.script.calls = calls
        torch.testing.assert_close(wrapped(sign * x), traced(sign * x))
        assert wrapped.script.calls == calls + 1
    ops = _C.original_ops(module)
    assert ("script.fc", "aten::linear", 0) in ops
    assert ("block.fc", "aten::linear", 0) in ops


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_original_ops() -> None:
    module, _ = _C.normalize(trace(Convolutions().eval(), torch.randn(1, 3, 8, 8))._c)
    ops = _C.original_ops(module)
    assert ("up", "aten::conv_transpose2d", 0) in ops
    assert ("same", "aten::_convolution_mode", 0) not in ops
    assert ("same", "aten::conv2d", 0) in ops
    assert not [op for op in ops if op[1].startswith("prim::")]


def test_assign_on_text() -> None:
    """Numbers, reasons, shape arithmetic; a second call would count again, so it runs once."""
    graph = _C.parse_ir("""
graph(%x : Tensor, %b : bool):
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %size : int = aten::size(%x, %zero)
  %n : Tensor = prim::NumToTensor(%size)
  %two : Tensor = prim::Constant[value=<Tensor>]()
  %m : Tensor = aten::mul(%n, %two)
  %y : Tensor = aten::add[iq_module="a"](%x, %x, %one)
  %z : Tensor = aten::add[iq_module="off.b"](%y, %m, %one)
  %r : Tensor = prim::If(%b)
    block0():
      %u : Tensor = aten::relu[iq_module="a"](%z)
      -> (%u)
    block1():
      -> (%z)
  return (%r)
""", [torch.tensor(2)])  # fmt: skip
    assert _C.run_pass("assign-sites", graph, ["off"])
    text = _C.canonical(graph)
    assert 'aten::add[iq_ids=[0], iq_site="a/add/0"]' in text
    assert 'aten::add[iq_ids=[1], iq_reason="inside scripted code"]' in text
    assert 'aten::relu[iq_ids=[2], iq_reason="inside scripted code"]' in text
    assert "aten::mul(" in text
    assert _C.list_sites(graph) == ["a/add/0"]


def test_op_table() -> None:
    rows = {row["family"]: row for row in _C.op_table()}
    assert rows["conv"]["operands"][1] == {
        "name": "weight", "index": 1, "kind": "weight", "axis": 0, "transposed_axis": 1,
    }  # fmt: skip
    names = [name for row in rows.values() for name in row["names"]]
    assert len(names) == len(set(names))
    for name in names:
        schemas = torch._C._jit_get_schemas_for_operator(name.split(".")[0])
        assert schemas, name
        if "." in name.split("::")[1]:
            assert name.split(".")[1] in {schema.overload_name for schema in schemas}
