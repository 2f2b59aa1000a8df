"""expand-glu: a gated linear unit becomes its halves, which keep its site."""

from __future__ import annotations

import torch
from torch import nn

from compile_tools import Compiled

BEFORE = """
graph(%x : Tensor):
  %dim : int = prim::Constant[value=1]()
  %y : Tensor = aten::glu[iq_site="m/glu/0"](%x, %dim)
  return (%y)
"""
AFTER = """
graph(%x : Tensor):
  %dim : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %l : Tensor[] = aten::chunk(%x, %two, %dim)
  %a : Tensor, %b : Tensor = prim::ListUnpack(%l)
  %s : Tensor = aten::sigmoid[iq_role="input", iq_site="m/glu/0"](%b)
  %y : Tensor = aten::mul[iq_role="gated", iq_site="m/glu/0"](%a, %s)
  return (%y)
"""


def test_glu_becomes_its_halves(check_pass) -> None:
    check_pass("expand-glu", BEFORE, AFTER, inputs=[torch.randn(2, 6, 5)])


def test_calibration_sees_both_halves() -> None:
    """An instrumented graph reports the halves as input of one glu."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv1d(8, 16, 3), nn.Conv1d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(nn.functional.glu(self.a(x), dim=1))

    torch.manual_seed(0)
    compiled = Compiled(Gated(), torch.randn(2, 8, 20))
    (site,) = [s for s in compiled.sites if "/glu/" in s.site]
    with torch.no_grad():
        halves = compiled.model.a(compiled.inputs[0])
    scale = (halves.max() - halves.min()) / 255
    assert [o.name for o in site.operands] == ["input"]
    assert abs(site.operands[0].scale - scale) < 1e-6
    assert compiled.kinds.count("ipex_quant::binary") == 1
    assert [k for k in compiled.kinds if k.startswith("aten::")] == ["aten::chunk"]
    assert [r["became"] for r in compiled.report] == ["int8"] * 3
    assert compiled.error() < 0.02
