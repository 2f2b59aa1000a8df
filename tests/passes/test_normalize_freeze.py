"""freeze: attributes become constants; what the graph writes stays an attribute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ipex_quant import _C


def test_attributes_become_constants() -> None:
    traced = torch.jit.trace(nn.Sequential(nn.Linear(3, 2), nn.Tanh()).eval(), torch.randn(1, 3))
    module, _ = _C.normalize(traced._c)
    graph = torch.jit._recursive.wrap_cpp_module(module).graph
    assert not graph.findAllNodes("prim::GetAttr")
    (linear,) = graph.findAllNodes("aten::linear")
    weight = list(linear.inputs())[1].node()
    assert weight.kind() == "prim::Constant"
    assert torch.equal(weight.t("value"), traced.get_submodule("0").weight)


def test_state_that_the_graph_writes_stays() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls = self.calls + 1
            return x + self.calls

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.counter = torch.jit.script(Counter().eval())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.counter(x)

    traced = torch.jit.trace(Outer().eval(), torch.zeros(1), check_trace=False)
    module = torch.jit._recursive.wrap_cpp_module(_C.normalize(traced._c, ["counter"])[0])
    first = module(torch.zeros(1))
    assert module(torch.zeros(1)) == first + 1


def test_text_that_reads_attributes_needs_its_module() -> None:
    traced = torch.jit.trace(nn.Linear(3, 2).eval(), torch.randn(1, 3))
    graph = traced.graph.copy()
    with pytest.raises(RuntimeError, match="pass 'freeze': the graph reads attributes"):
        _C.run_pass("freeze", graph)
    assert not _C.run_pass("freeze", _C.parse_ir("graph(%x : Tensor):\n  return (%x)\n"))
