"""split-shared-dequantize: one dequantize per reader."""

from __future__ import annotations

import torch

from compile_tools import Golden

QPARAMS = """
  %s : float = prim::Constant[value=0.5]()
  %z : int = prim::Constant[value=3]()"""


def test_each_reader_gets_its_own() -> None:
    before = f"""graph(%q : Tensor):{QPARAMS}
  %f : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %a : Tensor = aten::relu(%f)
  %b : Tensor = aten::sigmoid(%f)
  %y : Tensor = aten::mul(%a, %b)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::dequantize(%0, 0.5, 3)
  %2 = ipex_quant::dequantize(%0, 0.5, 3)
  %3 = aten::relu(%1)
  %4 = aten::sigmoid(%2)
  %5 = aten::mul(%3, %4)
  return (%5)
"""
    codes = torch.arange(256, dtype=torch.uint8)
    Golden("split-shared-dequantize").check(before, after, inputs=[codes])


def test_two_reads_of_one_op_are_two_uses() -> None:
    before = f"""graph(%q : Tensor):{QPARAMS}
  %f : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %y : Tensor = aten::mul(%f, %f)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::dequantize(%0, 0.5, 3)
  %2 = ipex_quant::dequantize(%0, 0.5, 3)
  %3 = aten::mul(%1, %2)
  return (%3)
"""
    codes = torch.arange(256, dtype=torch.uint8)
    Golden("split-shared-dequantize").check(before, after, inputs=[codes])


def test_single_reader_stays() -> None:
    before = f"""graph(%q : Tensor):{QPARAMS}
  %f : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %y : Tensor = aten::relu(%f)
  return (%y)
"""
    Golden("split-shared-dequantize").check(before, None)
