"""fuse: the slopes of prelu go by channel, so its step needs the number of dimensions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compile_tools import Compiled, Golden

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


def check(call: str, after: str, *sizes: int, batch: int = 3) -> None:
    spatial = len(sizes) - 2
    text = HEAD.format(sizes=", ".join(map(str, sizes)), ones=[1] * max(spatial, 1), call=call)
    constants = [torch.randn(*sizes), torch.rand(8) * 0.01 + 0.02, torch.randn(8)]
    codes = torch.randint(0, 256, (batch, 8, *[6] * spatial), dtype=torch.uint8)
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


def test_rank_of_a_linear_is_asked_at_run_time() -> None:
    """The columns of a linear are its channels only if it has no dimension between."""
    check(
        "aten::linear(%x, %wf, %none)",
        """graph(%0):
  %1 = ipex_quant::quantize_weight(<8x8>, <8>, 0)
  %2 = aten::dim(%0)
  %3 = aten::sub(%2, 2)
  %4 = aten::mul([1], %3)
  %5 = aten::add([8], %4)
  %6 = aten::reshape(<8>, %5)
  %7 = ipex_quant::linear_prepack(%1, <8>, None, 0.5, 3, 'prelu')
  %8 = ipex_quant::linear(%0, %7, [%6])
  return (%8)""",
        *(8, 8),
    )


def test_unknown_number_of_dimensions_stays_float() -> None:
    check(
        "aten::matmul(%x, %x)",
        """graph(%0):
  %1 = ipex_quant::matmul_prepack(0.5, 3, 0.5, 3, '')
  %2 = ipex_quant::matmul(%0, %0, %1, [])
  %3 = aten::prelu(%2, <8>)
  return (%3)""",
        *(8, 8),
        batch=8,
    )


@pytest.mark.parametrize("shape", [(64, 16), (8, 8, 16), (4, 8, 3, 16)])
def test_slopes_behind_a_linear(shape: tuple[int, ...]) -> None:
    """Channels are dimension 1 whatever the rank, also of one module called with several."""
    torch.manual_seed(0)
    prelu = nn.PReLU(8)
    nn.init.normal_(prelu.weight)
    compiled = Compiled(nn.Sequential(nn.Linear(16, 8), prelu, nn.Linear(8, 4)), torch.randn(shape))
    assert compiled.kinds.count("ipex_quant::linear") == 2
    assert "aten::prelu" not in compiled.kinds
    for other in ((5, 16), (4, 8, 16), (2, 8, 3, 16)):
        assert compiled.error(torch.rand(other) - 0.5) < 0.05
    with pytest.raises(RuntimeError):  # 7 channels and 8 slopes
        compiled.module(torch.randn(4, 7, 16))
