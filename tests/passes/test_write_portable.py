"""write-portable: exact IR of the pairs and of each layout of a weight; the same bits."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden

GOLDEN = Golden("write-portable")


def test_a_pair() -> None:
    before = """
graph(%x : Tensor):
  %s : float = prim::Constant[value=0.05]()
  %z : int = prim::Constant[value=3]()
  %q : Tensor = ipex_quant::quantize(%x, %s, %z)
  %y : Tensor = ipex_quant::dequantize(%q, %s, %z)
  return (%y)
"""
    after = """
graph(%0):
  %1 = aten::fake_quantize_per_tensor_affine(%0, 0.05, 3, 0, 255)
  return (%1)
"""
    halves = (torch.arange(-600, 600) / 2 + 0.5) * 0.05  # where rounding decides
    x = torch.cat([halves, 20 * torch.randn(4096), torch.tensor([0.0, -0.0, 1e30, -1e30])])
    GOLDEN.check(before, after, inputs=[x])


@pytest.mark.parametrize("axis", [0, 1])
def test_a_weight_with_scales_per_channel(axis: int) -> None:
    before = f"""
graph(%x : Tensor):
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %s : Tensor = prim::Constant[value=<Tensor>]()
  %axis : int = prim::Constant[value={axis}]()
  %q : Tensor = ipex_quant::quantize_weight(%w, %s, %axis)
  %f : Tensor = ipex_quant::dequantize_weight(%q, %s, %axis)
  %y : Tensor = aten::mul(%x, %f)
  return (%y)
"""
    size = (4, 6)[axis]
    after = f"""
graph(%0):
  %1 = aten::fake_quantize_per_channel_affine(<4x6>, <{size}>, <{size}>, {axis}, -128, 127)
  %2 = aten::mul(%0, %1)
  return (%2)
"""
    constants = [torch.randn(4, 6), torch.rand(size) / 50 + 0.01]
    GOLDEN.check(before, after, constants=constants, inputs=[torch.randn(4, 6)])


def test_a_weight_of_codes_with_one_scale() -> None:
    before = """
graph(%x : Tensor):
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %s : Tensor = prim::Constant[value=<Tensor>]()
  %axis : int = prim::Constant[value=0]()
  %f : Tensor = ipex_quant::dequantize_weight(%w, %s, %axis)
  %y : Tensor = aten::mul(%x, %f)
  return (%y)
"""
    after = """
graph(%0):
  %1 = aten::fake_quantize_per_tensor_affine(<16x16>, 0.03, 0, -128, 127)
  %2 = aten::mul(%0, %1)
  return (%2)
"""
    codes = torch.arange(-128, 128).to(torch.int8).view(16, 16)
    GOLDEN.check(
        before, after, constants=[codes, torch.tensor([0.03])], inputs=[torch.randn(16, 16)]
    )


def test_a_graph_without_pairs_stays() -> None:
    GOLDEN.check(
        "graph(%x : Tensor):\n  %y : Tensor = aten::relu(%x)\n  return (%y)\n",
        None,
        inputs=[torch.randn(4)],
    )
