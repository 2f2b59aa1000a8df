"""unflatten-linear: a linear between a reshape to rows and one back reads its input as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ipex_quant
from compile_tools import Compiled, Golden

HEAD = """
  %w : Float(5, 4) = prim::Constant[value=<Tensor>]()
  %b : Float(5) = prim::Constant[value=<Tensor>]()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %minus1 : int = prim::Constant[value=-1]()
  %four : int = prim::Constant[value=4]()
  %five : int = prim::Constant[value=5]()
  %n : int = aten::size(%x, %zero)
  %t : int = aten::size(%x, %one)
  %k : int = aten::size(%x, %minus1)
  %rows : int[] = prim::ListConstruct(%minus1, %k)
  %r : Tensor = aten::reshape(%x, %rows)
  %l : Tensor = aten::linear(%r, %w, %b)"""
TENSORS = [torch.randn(5, 4), torch.randn(5)]
ALONE = "graph(%0):\n  %1 = aten::linear(%0, <5x4>, <5>)\n  return (%1)"


def graph(*lines: str, result: str = "%y") -> str:
    return "\n".join([f"graph(%x : Tensor):{HEAD}", *lines, f"  return ({result})\n"])


def check(before: str, after: str | None) -> None:
    golden = Golden("unflatten-linear")
    golden.check(before, after, constants=TENSORS, inputs=[torch.randn(2, 3, 4)])


@pytest.mark.parametrize("last", ["%five", "%m"])
def test_both_reshapes_go(last: str) -> None:
    """The last size may be read from the rows themselves, as MultiheadAttention does."""
    lines = [
        *(["  %m : int = aten::size(%l, %one)"] if last == "%m" else []),
        f"  %sizes : int[] = prim::ListConstruct(%n, %t, {last})",
        "  %y : Tensor = aten::reshape(%l, %sizes)",
    ]
    check(graph(*lines), ALONE)


def test_other_sizes_leave_one_reshape() -> None:
    after = """
graph(%0):
  %1 = aten::size(%0, 0)
  %2 = aten::size(%0, 1)
  %3 = aten::reshape(%0, [%2, %1, 4])
  %4 = aten::linear(%3, <5x4>, <5>)
  return (%4)"""
    sizes = "  %sizes : int[] = prim::ListConstruct(%t, %n, %five)"
    check(graph(sizes, "  %y : Tensor = aten::reshape(%l, %sizes)"), after)


def test_reshape_that_splits_the_last_dimension_stays() -> None:
    sizes = "  %sizes : int[] = prim::ListConstruct(%n, %t, %five, %one)"
    check(graph(sizes, "  %y : Tensor = aten::reshape(%l, %sizes)"), None)


def test_rows_that_are_read_elsewhere_stay() -> None:
    lines = [
        "  %sizes : int[] = prim::ListConstruct(%n, %t, %five)",
        "  %v : Tensor = aten::reshape(%l, %sizes)",
        "  %s : Tensor = aten::relu(%l)",
        "  %y : (Tensor, Tensor) = prim::TupleConstruct(%v, %s)",
    ]
    text = graph(*lines)
    check(text, None)


class Conv1D(nn.Module):
    """transformers' linear layer of GPT-2"""

    def __init__(self, nx: int, nf: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(0.3 * torch.randn(nx, nf)),
            nn.Parameter(torch.ones(nf)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sizes = (*x.size()[:-1], self.bias.shape[0])
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(sizes)


class Block(nn.Module):
    """Attention whose scores are masked, and a feed-forward part, each added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.out = Conv1D(16, 48), Conv1D(16, 16)
        self.up, self.down = Conv1D(16, 32), Conv1D(32, 16)

    def forward(self, x: torch.Tensor, left_out: torch.Tensor) -> torch.Tensor:
        x = self.norm(x.view(x.size(0), x.size(1), 16))
        mask = left_out.expand(x.size(0), -1, x.size(1), x.size(1))
        q, k, v = (
            part.view(*part.shape[:-1], -1, 8).transpose(1, 2)
            for part in self.qkv(x).split(16, dim=2)
        )
        scores = (q @ k.transpose(-1, -2) / 8**0.5).masked_fill(mask, -1e4)
        heads = (scores.softmax(-1) @ v).transpose(1, 2)
        x = x + self.out(heads.reshape(*heads.shape[:-2], -1).contiguous())
        return x + self.down(torch.relu(self.up(self.norm2(x))))


def test_residual_sums_behind_flattened_linears_join_their_epilogues() -> None:
    torch.manual_seed(0)
    left_out = torch.zeros(2, 1, 1, 6, dtype=torch.bool)
    left_out[1, ..., 4:] = True
    compiled = Compiled(Block(), torch.randn(2, 6, 16), left_out)
    assert "aten::add" not in compiled.kinds, compiled.report_text
    assert compiled.epilogues().count("add_f32") >= 2
    assert compiled.error() < 0.05
    assert compiled.error(torch.randn(3, 4, 16), left_out[:1, ..., :4]) < 0.05


def test_trace_of_flattened_linears_is_calibrated_as_addmm() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Conv1D(16, 32), nn.ReLU(), Conv1D(32, 8)).eval()
    data = [torch.randn(2, 5, 16) for _ in range(3)]
    traced = torch.jit.trace(model, data[0])
    quantized = ipex_quant.jit.quantize(traced, calibration_data=data)
    assert [row.op for row in ipex_quant.report(quantized) if row.became == "int8"] == [
        *("aten::addmm", "aten::relu", "aten::addmm")
    ]
    with torch.no_grad():
        wanted, got = model(data[1]), quantized(data[1])
    assert (wanted - got).norm() < 0.02 * wanted.norm()
