"""Adaptive pools hand int8 on, to any number of outputs, whatever the sizes of their input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compile_tools import Compiled, Golden

MAX = [nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d]
AVG = [nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d]
CONV = [nn.Conv1d, nn.Conv2d, nn.Conv3d]
POOL = "%y : Tensor, %i : Tensor = aten::adaptive_max_pool2d(%x, %out)"


def graph(body: str, results: str, head: str = "%x : Tensor") -> str:
    return f"""graph({head}):
  %s : float = prim::Constant[value=0.5]()
  %z : int = prim::Constant[value=3]()
  %out : int[] = prim::Constant[value=[3, 2]]()
{body}
  return ({results})
"""


def test_dequantize_is_pushed_down() -> None:
    body = f"  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)\n  {POOL}"
    after = """graph(%0):
  %1 = ipex_quant::adaptive_max_pool(%0, [3, 2])
  %2 = ipex_quant::dequantize(%1, 0.5, 3)
  return (%2)"""
    codes = torch.randint(0, 256, (2, 4, 7, 6), dtype=torch.uint8)
    Golden("propagate").check(graph(body, "%y", "%q : Tensor"), after, inputs=[codes])


def test_quantize_is_pulled_up() -> None:
    body = f"  {POOL}\n  %q : Tensor = ipex_quant::quantize(%y, %s, %z)"
    after = """graph(%0):
  %1 = ipex_quant::quantize(%0, 0.5, 3)
  %2 = ipex_quant::adaptive_max_pool(%1, [3, 2])
  return (%2)"""
    inputs = [torch.randn(2, 4, 7, 6) * 20]
    Golden("propagate").check(graph(body, "%q"), after, inputs=inputs)


def test_pool_whose_indices_are_read_stays_float() -> None:
    body = f"""  {POOL}
  %k : Tensor = aten::max(%i)
  %q : Tensor = ipex_quant::quantize(%y, %s, %z)
  %r : Tensor = aten::add(%q, %k, %z)"""
    Golden("propagate").check(graph(body, "%r"), None, inputs=[torch.randn(2, 4, 7, 6)])


class Head(nn.Module):
    """conv, pool, linear"""

    def __init__(self, pool: nn.Module, nd: int, outputs: int) -> None:
        super().__init__()
        self.conv = CONV[nd - 1](3, 8, 3)
        self.pool, self.fc = pool, nn.Linear(8 * outputs, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(self.conv(x).relu()).flatten(1))


@pytest.mark.parametrize("pools", [MAX, AVG])
@pytest.mark.parametrize("nd", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3])
def test_pool_hands_int8_on(pools: list, nd: int, size: int) -> None:
    torch.manual_seed(0)
    head = Head(pools[nd - 1](size), nd, size**nd)
    compiled = Compiled(head, torch.randn(2, 3, *[8] * nd))
    (row,) = [row for row in compiled.report if "adaptive" in row["op"]]
    assert row["became"] == "int8"
    assert "ipex_quant::dequantize" not in compiled.kinds
    assert compiled.error() < 0.05
    for end in (7, 5):  # averages of fewer values are larger, so all are made smaller
        assert compiled.error(compiled.inputs[0][:1, ..., :end] * 0.4) < 0.08


def test_output_size_that_follows_the_input() -> None:
    """None keeps the size of the input, which a trace reads when it runs."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveMaxPool2d((None, 2)), nn.Conv2d(8, 4, 1))
    compiled = Compiled(model, torch.randn(2, 3, 9, 8))
    assert "ipex_quant::adaptive_max_pool" in compiled.kinds
    assert "ipex_quant::dequantize" not in compiled.kinds
    for end in (9, 6):
        x = compiled.inputs[0][:, :, :end]
        assert compiled.module(x).shape == (2, 4, end - 2, 2)
        assert compiled.error(x) < 0.05


def test_pyramid_stays_int8() -> None:
    """A pyramid of pools over one feature map, as PSPNet and SPP have it."""

    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.pools = nn.ModuleList(nn.AdaptiveMaxPool2d(n) for n in (1, 2, 4))
            self.fc = nn.Linear(8 * (1 + 4 + 16), 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x).relu()
            return self.fc(torch.cat([pool(y).flatten(1) for pool in self.pools], 1))

    torch.manual_seed(0)
    compiled = Compiled(Pyramid(), torch.randn(2, 3, 13, 11))
    assert compiled.kinds.count("ipex_quant::adaptive_max_pool") == 3
    assert [k for k in compiled.kinds if k in ("aten::adaptive_max_pool2d",)] == []
    assert compiled.kinds.count("ipex_quant::quantize_channels_last") == 1
    assert compiled.error() < 0.05
