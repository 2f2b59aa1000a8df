"""fuse-cells: cells that a trace took apart become one op of an int8 kernel again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compile_tools import Compiled
from ipex_quant import _C

CELLS = [nn.LSTMCell, nn.GRUCell]


class Loop(nn.Module):
    """Two layers of cells, unrolled."""

    def __init__(self, kind: type[nn.LSTMCell] | type[nn.GRUCell], bias: bool = True) -> None:
        super().__init__()
        self.first, self.second = kind(12, 16, bias), kind(16, 16, bias)
        self.lstm = kind is nn.LSTMCell
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple:
        """x [steps, n, 12], h and c [2, n, 16] -> outputs and last states."""
        states, outputs = [(h[0], c[0]), (h[1], c[1])], []
        for y in x.unbind(0):
            for i, cell in enumerate((self.first, self.second)):
                new = cell(y, states[i]) if self.lstm else (cell(y, states[i][0]), states[i][1])
                states[i] = new
                y = new[0]
            outputs.append(self.head(y))
        return torch.stack(outputs), states[0][0], states[0][1], states[1][0]


def inputs(steps: int = 4, n: int = 3) -> tuple[torch.Tensor, ...]:
    return torch.rand(steps, n, 12) - 0.5, torch.rand(2, n, 16) - 0.5, torch.randn(2, n, 16)


def compiled(kind: type, **options: object) -> Compiled:
    torch.manual_seed(0)
    return Compiled(Loop(kind), *inputs(), **options)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", CELLS)
def test_each_step_is_one_op(kind: type, bias: bool) -> None:
    torch.manual_seed(0)
    result = Compiled(Loop(kind, bias), *inputs())
    name = "lstm" if kind is nn.LSTMCell else "gru"
    assert result.kinds.count(f"ipex_quant::{name}") == 8
    assert not {"aten::sigmoid", "aten::tanh", "aten::linear"} & set(result.kinds)
    inside = [row for row in result.report if row["module"] in ("first", "second")]
    assert {row["became"] for row in inside} == {"int8"}
    assert {row["kernel"] for row in inside} == {f"ipex_quant::{name}"}
    assert result.error() < 0.02
    assert result.module(*inputs(n=5))[0].shape == (4, 5, 3)


@pytest.mark.parametrize("kind", CELLS)
def test_same_numbers_as_in_single_ops(kind: type) -> None:
    result = compiled(kind)
    graph = result.normalized._get_method("forward").graph.copy()
    assert _C.run_compile_pass("fuse-cells", graph, result.sites)
    assert not _C.run_compile_pass("fuse-cells", graph, result.sites)
    run = torch._C._create_function_from_graph("forward", graph)
    with torch.no_grad():
        wanted = result.model(*result.inputs)
        got = run(result.module, *result.inputs)
    for a, b in zip(wanted, got, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("site", ["first/linear/0", "first/linear/1"])
@pytest.mark.parametrize("kind", CELLS)
def test_cell_with_a_float_product_stays(kind: type, site: str) -> None:
    result = compiled(kind, keep_float={site: "kept by the test"})
    name = "lstm" if kind is nn.LSTMCell else "gru"
    assert result.kinds.count(f"ipex_quant::{name}") == 7
    assert "aten::linear" in result.kinds


def test_gates_read_elsewhere_stay() -> None:
    class Peephole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x, self.h = nn.Linear(12, 64), nn.Linear(16, 64)

        def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple:
            gates = self.h(h) + self.x(x)
            i, f, g, o = torch.unsafe_chunk(gates, 4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            return torch.sigmoid(o) * torch.tanh(c), gates

    torch.manual_seed(0)
    result = Compiled(Peephole(), torch.randn(3, 12), torch.rand(3, 16), torch.randn(3, 16))
    assert "ipex_quant::lstm" not in result.kinds
    assert "aten::sigmoid" in result.kinds
