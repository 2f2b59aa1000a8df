"""adopt-quantization: exact IR for each form of quantization that a traced graph may have."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden

GOLDEN = Golden("adopt-quantization")
DTYPES = {"quint8": 13, "qint8": 12}


def test_quantize_and_dequantize() -> None:
    before = """
graph(%x : Tensor):
  %s : float = prim::Constant[value=0.05]()
  %z : int = prim::Constant[value=3]()
  %t : int = prim::Constant[value=13]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %t)
  %y : Tensor = aten::dequantize(%q)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::quantize(%0, 0.05, 3)
  %2 = ipex_quant::dequantize(%1, 0.05, 3)
  return (%2)
"""
    GOLDEN.check(before, after, inputs=[torch.randn(64)], tolerance=1e-6)


def test_qint8_has_its_zero_point_128_higher() -> None:
    before = """
graph(%x : Tensor):
  %s : Tensor = prim::Constant[value=<Tensor>]()
  %z : Tensor = prim::Constant[value=<Tensor>]()
  %t : int = prim::Constant[value=12]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %t)
  %r : Tensor = aten::relu(%q)
  %y : Tensor = aten::dequantize(%r)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::quantize(%0, 0.05, 121)
  %2 = ipex_quant::dequantize(%1, 0.05, 121)
  %3 = aten::relu(%2)
  %4 = ipex_quant::quantize(%3, 0.05, 121)
  %5 = ipex_quant::dequantize(%4, 0.05, 121)
  return (%5)
"""
    constants = [torch.tensor([0.05]), torch.tensor([-7])]
    GOLDEN.check(before, after, constants=constants, inputs=[torch.randn(64)], tolerance=1e-6)


def test_a_narrow_range_becomes_a_clamp_once() -> None:
    before = """
graph(%x : Tensor):
  %s : float = prim::Constant[value=0.05]()
  %z : int = prim::Constant[value=20]()
  %low : int = prim::Constant[value=0]()
  %high : int = prim::Constant[value=127]()
  %f : Tensor = aten::fake_quantize_per_tensor_affine(%x, %s, %z, %low, %high)
  %n : int = prim::Constant[value=-1]()
  %v : int[] = prim::ListConstruct(%n)
  %r : Tensor = aten::reshape(%f, %v)
  %y : Tensor = aten::fake_quantize_per_tensor_affine(%r, %s, %z, %low, %high)
  return (%y)
"""
    after = """
graph(%0):
  %1 = aten::clamp(%0, -1, 5.35)
  %2 = ipex_quant::quantize(%1, 0.05, 20)
  %3 = ipex_quant::dequantize(%2, 0.05, 20)
  %4 = aten::reshape(%3, [-1])
  %5 = ipex_quant::quantize(%4, 0.05, 20)
  %6 = ipex_quant::dequantize(%5, 0.05, 20)
  return (%6)
"""
    GOLDEN.check(before, after, inputs=[5 * torch.randn(4, 64)], tolerance=1e-6)


def test_the_form_with_a_mask() -> None:
    before = """
graph(%x : Tensor):
  %s : float = prim::Constant[value=0.05]()
  %z : int = prim::Constant[value=-8]()
  %low : int = prim::Constant[value=-128]()
  %high : int = prim::Constant[value=127]()
  %y : Tensor, %m : Tensor = OP(%x, %s, %z, %low, %high)
  return (%y)
""".replace("OP", "aten::fake_quantize_per_tensor_affine_cachemask")
    after = """
graph(%0):
  %1 = ipex_quant::quantize(%0, 0.05, 120)
  %2 = ipex_quant::dequantize(%1, 0.05, 120)
  return (%2)
"""
    GOLDEN.check(before, after, inputs=[4 * torch.randn(64)], tolerance=1e-6)


def test_an_activation_with_scales_per_channel_stays_with_a_reason() -> None:
    before = """
graph(%x : Tensor):
  %s : Tensor = prim::Constant[value=<Tensor>]()
  %z : Tensor = prim::Constant[value=<Tensor>]()
  %axis : int = prim::Constant[value=0]()
  %low : int = prim::Constant[value=-128]()
  %high : int = prim::Constant[value=127]()
  %y : Tensor = aten::fake_quantize_per_channel_affine(%x, %s, %z, %axis, %low, %high)
  return (%y)
"""
    constants = [torch.rand(4) + 0.01, torch.zeros(4, dtype=torch.int32)]
    graph = GOLDEN.check(before, None, constants=constants, inputs=[torch.randn(4, 3)])
    node = next(n for n in graph.nodes() if "fake" in n.kind())
    assert node.s("iq_reason") == "an activation is quantized with one scale"


def test_fixed_qparams_of_sigmoid_and_tanh() -> None:
    before = """
graph(%x : Tensor):
  %s : float = prim::Constant[value=0.05]()
  %z : int = prim::Constant[value=100]()
  %t : int = prim::Constant[value=13]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %t)
  %a : Tensor = aten::sigmoid(%q)
  %b : Tensor = aten::tanh(%a)
  %y : Tensor = aten::dequantize(%b)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::quantize(%0, 0.05, 100)
  %2 = ipex_quant::dequantize(%1, 0.05, 100)
  %3 = aten::sigmoid(%2)
  %4 = ipex_quant::quantize(%3, 0.00390625, 0)
  %5 = ipex_quant::dequantize(%4, 0.00390625, 0)
  %6 = aten::tanh(%5)
  %7 = ipex_quant::quantize(%6, 0.0078125, 128)
  %8 = ipex_quant::dequantize(%7, 0.0078125, 128)
  return (%8)
"""
    GOLDEN.check(before, after, inputs=[torch.randn(64)], tolerance=0.0079)


def test_an_addition_of_quantized_tensors() -> None:
    before = """
graph(%x : Tensor):
  %s : float = prim::Constant[value=0.05]()
  %z : int = prim::Constant[value=100]()
  %t : int = prim::Constant[value=13]()
  %s2 : float = prim::Constant[value=0.1]()
  %z2 : int = prim::Constant[value=110]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %t)
  %a : Tensor = quantized::add_relu(%q, %q, %s2, %z2)
  %y : Tensor = aten::dequantize(%a)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::quantize(%0, 0.05, 100)
  %2 = ipex_quant::dequantize(%1, 0.05, 100)
  %3 = aten::add(%2, %2, 1)
  %4 = aten::relu(%3)
  %5 = ipex_quant::quantize(%4, 0.1, 110)
  %6 = ipex_quant::dequantize(%5, 0.1, 110)
  return (%6)
"""
    GOLDEN.check(before, after, inputs=[torch.randn(64)], tolerance=0.101)


def test_what_has_no_rewrite_reads_a_quantized_tensor() -> None:
    before = """
graph(%x : Tensor):
  %s : float = prim::Constant[value=0.05]()
  %z : int = prim::Constant[value=3]()
  %t : int = prim::Constant[value=13]()
  %n : int = prim::Constant[value=0]()
  %down : bool = prim::Constant[value=0]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %t)
  %a : Tensor, %b : Tensor = aten::sort(%q, %n, %down)
  %y : Tensor = aten::dequantize(%a)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::quantize(%0, 0.05, 3)
  %2 = ipex_quant::dequantize(%1, 0.05, 3)
  %3 = aten::quantize_per_tensor(%2, 0.05, 3, 13)
  %4, %5 = aten::sort(%3, 0, False)
  %6 = aten::dequantize(%4)
  return (%6)
"""
    graph = GOLDEN.check(before, after, inputs=[torch.randn(64)], tolerance=1e-6)
    sort = next(n for n in graph.nodes() if n.kind() == "aten::sort")
    assert sort.s("iq_reason").startswith("no int8 kernel for this op on torch's quantized")


def test_a_quantized_result_of_the_model_stays_one() -> None:
    before = """
graph(%x : Tensor):
  %s : float = prim::Constant[value=0.05]()
  %z : int = prim::Constant[value=3]()
  %t : int = prim::Constant[value=13]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %t)
  %y : Tensor = aten::relu(%q)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::quantize(%0, 0.05, 3)
  %2 = ipex_quant::dequantize(%1, 0.05, 3)
  %3 = aten::relu(%2)
  %4 = ipex_quant::quantize(%3, 0.05, 3)
  %5 = ipex_quant::dequantize(%4, 0.05, 3)
  %6 = aten::quantize_per_tensor(%5, 0.05, 3, 13)
  return (%6)
"""
    GOLDEN.check(before, after)


@pytest.mark.parametrize(("dtype", "shift"), [(torch.qint8, 0), (torch.quint8, 128)])
def test_a_symmetric_weight(dtype: torch.dtype, shift: int) -> None:
    weight = torch.randn(4, 6)
    scales, zeros = torch.rand(4) / 20 + 0.02, torch.full((4,), shift)
    constant = torch.quantize_per_channel(weight, scales, zeros, 0, dtype)
    before = """
graph(%x : Tensor):
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %f : Tensor = aten::dequantize[iq_range=[LOW, HIGH]](%w)
  %y : Tensor = aten::mul(%x, %f)
  return (%y)
""".replace("LOW", str(shift - 127)).replace("HIGH", str(shift + 127))
    after = """
graph(%0):
  %1 = ipex_quant::dequantize_weight(<4x6>, <4>, 0)
  %2 = aten::mul(%0, %1)
  return (%2)
"""
    GOLDEN.check(before, after, constants=[constant], inputs=[torch.randn(4, 6)], tolerance=1e-6)


def test_a_weight_with_zero_points_becomes_float() -> None:
    constant = torch.quantize_per_tensor(torch.randn(4, 6), 0.05, 3, torch.qint8)
    before = """
graph(%x : Tensor):
  %w : Tensor = prim::Constant[value=<Tensor>]()
  %f : Tensor = aten::dequantize(%w)
  %y : Tensor = aten::mul(%x, %f)
  return (%y)
"""
    after = """
graph(%0):
  %1 = aten::mul(%0, <4x6>)
  return (%1)
"""
    GOLDEN.check(before, after, constants=[constant], inputs=[torch.randn(4, 6)], tolerance=1e-6)


@pytest.mark.parametrize(
    ("scale", "zero", "dtype", "reason"),
    [
        ("0.", "3", 13, "its scale is not a finite number above 0"),
        ("0.1", "300", 13, "its zero point is not one of its codes"),
        ("0.1", "3", 14, "its codes do not fit into 8 bits"),
    ],
)
def test_wrong_qparams_stay_with_a_reason(scale: str, zero: str, dtype: int, reason: str) -> None:
    before = f"""
graph(%x : Tensor):
  %s : float = prim::Constant[value={scale}]()
  %z : int = prim::Constant[value={zero}]()
  %t : int = prim::Constant[value={dtype}]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %t)
  %y : Tensor = aten::dequantize(%q)
  return (%y)
"""
    graph = GOLDEN.check(before, None)
    node = next(n for n in graph.nodes() if n.kind() == "aten::quantize_per_tensor")
    assert node.s("iq_reason").startswith(reason)
