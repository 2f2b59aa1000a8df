"""fuse: the slopes of prelu go by channel, so its step needs the number of dimensions."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden

HEAD = """graph(%q : Tensor):
  %k : Float({sizes}) = prim::Constant[value=<Tensor>]()
  %ws : Float(8) = prim::Constant[value=<Tensor>]()
  %slopes : Float(8) = prim::Constant[value=<Tensor>]()
  %s : float = prim::Constant[value=0.5]()
  %z : int = prim::Constant[value=3]()
  %none : NoneType = prim::Constant()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %ones : int[] = prim::Constant[value={ones}]()
  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %w8 : Tensor = ipex_quant::quantize_weight(%k, %ws, %zero)
  %wf : Tensor = ipex_quant::dequantize_weight(%w8, %ws, %zero)
  %v : Tensor = {call}
  %y : Tensor = aten::prelu(%v, %slopes)
  return (%y)
"""


def check(call: str, after: str, *sizes: int) -> None:
    spatial = len(sizes) - 2
    text = HEAD.format(sizes=", ".join(map(str, sizes)), ones=[1] * max(spatial, 1), call=call)
    constants = [torch.randn(*sizes), torch.rand(8) * 0.01 + 0.02, torch.randn(8)]
    codes = torch.randint(0, 256, (3, 8, *[6] * spatial), dtype=torch.uint8)
    Golden("fuse").check(text, after, constants=constants, inputs=[codes], tolerance=1e-3)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_slopes_stand_at_the_channels(spatial: int) -> None:
    ones, tail = [1] * spatial, "x1" * spatial
    check(
        f"aten::conv{spatial}d(%x, %wf, %none, %ones, %ones, %ones, %one)",
        f"""graph(%0):
  %1 = ipex_quant::quantize_weight(<8x8{"x3" * spatial}>, <8>, 0)
  %2 = ipex_quant::conv_prepack(%1, <8>, None, {ones}, {ones}, {ones}, {[0] * spatial}, 1, False, \
0.5, 3, 'prelu')
  %3 = ipex_quant::conv(%0, %2, [<8{tail}>])
  return (%3)""",
        *(8, 8, *[3] * spatial),
    )


def test_unknown_number_of_dimensions_stays_float() -> None:
    """The columns of a linear are its channels only if it has no dimension between."""
    check(
        "aten::linear(%x, %wf, %none)",
        """graph(%0):
  %1 = ipex_quant::quantize_weight(<8x8>, <8>, 0)
  %2 = ipex_quant::linear_prepack(%1, <8>, None, 0.5, 3, '')
  %3 = ipex_quant::linear(%0, %2, [])
  %4 = aten::prelu(%3, <8>)
  return (%4)""",
        *(8, 8),
    )
