"""propagate: pairs move across data movement, meet and cancel."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden

QPARAMS = """
  %s : float = prim::Constant[value=0.5]()
  %z : int = prim::Constant[value=3]()
  %s2 : float = prim::Constant[value=0.25]()
  %z2 : int = prim::Constant[value=7]()
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %minus1 : int = prim::Constant[value=-1]()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %two : int = prim::Constant[value=2]()
  %three : int = prim::Constant[value=3]()
  %fzero : float = prim::Constant[value=0.]()
  %ones : int[] = prim::Constant[value=[1, 1]]()
  %axes : int[] = prim::Constant[value=[1, 2]]()
  %twos : int[] = prim::Constant[value=[2, 2]]()
  %zeros : int[] = prim::Constant[value=[0, 0]]()
  %order : int[] = prim::Constant[value=[0, 2, 3, 1]]()
  %shape : int[] = prim::Constant[value=[2, -1]]()
  %sizes : int[] = prim::Constant[value=[1, 0, 0, 2]]()
  %factors : float[] = prim::Constant[value=[2., 2.]]()
  %repeats : int[] = prim::Constant[value=[1, 2, 1, 1]]()
  %constant : str = prim::Constant[value="constant"]()
  %reflect : str = prim::Constant[value="reflect"]()"""

# aten text with %x as the input, and the same on int8 data with %1.
MOVES = [
    ("aten::reshape(%x, %shape)", "aten::reshape(%1, [2, -1])"),
    ("aten::flatten(%x, %one, %minus1)", "aten::flatten(%1, 1, -1)"),
    ("aten::permute(%x, %order)", "aten::permute(%1, [0, 2, 3, 1])"),
    ("aten::transpose(%x, %one, %two)", "aten::transpose(%1, 1, 2)"),
    ("aten::unsqueeze(%x, %zero)", "aten::unsqueeze(%1, 0)"),
    ("aten::contiguous(%x, %zero)", "aten::contiguous(%1, 0)"),
    ("aten::repeat(%x, %repeats)", "aten::repeat(%1, [1, 2, 1, 1])"),
    ("aten::flip(%x, %axes)", "aten::flip(%1, [1, 2])"),
    ("aten::pixel_shuffle(%x, %two)", "aten::pixel_shuffle(%1, 2)"),
    (
        "aten::upsample_nearest2d(%x, %none, %factors)",
        "aten::upsample_nearest2d(%1, None, [2, 2])",
    ),
    (
        "aten::_upsample_nearest_exact2d(%x, %none, %factors)",
        "aten::_upsample_nearest_exact2d(%1, None, [2, 2])",
    ),
    ("aten::constant_pad_nd(%x, %sizes, %zero)", "aten::constant_pad_nd(%1, [1, 0, 0, 2], 3)"),
    (
        "aten::pad(%x, %sizes, %constant, %fzero)",
        "aten::pad(%1, [1, 0, 0, 2], 'constant', 3)",
    ),
    ("aten::pad(%x, %sizes, %reflect, %none)", "aten::pad(%1, [1, 0, 0, 2], 'reflect', None)"),
    ("aten::amax(%x, %axes, %false)", "aten::amax(%1, [1, 2], False)"),
    (
        "aten::max_pool2d(%x, %twos, %ones, %zeros, %ones, %false)",
        "ipex_quant::max_pool(%1, [2, 2], [1, 1], [0, 0], [1, 1], False)",
    ),
]
PARTS = [
    ("aten::slice(%x, %one, %zero, %two, %one)", "aten::slice(%1, 1, 0, 2, 1)"),
    ("aten::select(%x, %one, %two)", "aten::select(%1, 1, 2)"),
]


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 4, 6, 6) * 20


@pytest.fixture
def codes() -> torch.Tensor:
    return torch.randint(0, 256, (2, 4, 6, 6), dtype=torch.uint8)


@pytest.mark.parametrize(("move", "moved"), MOVES)
def test_quantize_is_pulled_up(move: str, moved: str, x: torch.Tensor) -> None:
    before = f"""graph(%x : Tensor):{QPARAMS}
  %m : Tensor = {move}
  %q : Tensor = ipex_quant::quantize(%m, %s, %z)
  return (%q)
"""
    after = f"""
graph(%0):
  %1 = ipex_quant::quantize(%0, 0.5, 3)
  %2 = {moved}
  return (%2)
"""
    Golden("propagate").check(before, after, inputs=[x])


@pytest.mark.parametrize(("move", "moved"), MOVES + PARTS)
def test_dequantize_is_pushed_down(move: str, moved: str, codes: torch.Tensor) -> None:
    before = f"""graph(%q : Tensor):{QPARAMS}
  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %m : Tensor = {move}
  return (%m)
"""
    after = f"""
graph(%0):
  %1 = {moved.replace("%1", "%0")}
  %2 = ipex_quant::dequantize(%1, 0.5, 3)
  return (%2)
"""
    Golden("propagate").check(before, after, inputs=[codes])


@pytest.mark.parametrize(("move", "_moved"), PARTS)
def test_a_part_is_quantized_alone(move: str, _moved: str, x: torch.Tensor) -> None:
    """Quantizing the whole would do more work than quantizing the part."""
    before = f"""graph(%x : Tensor):{QPARAMS}
  %m : Tensor = {move}
  %q : Tensor = ipex_quant::quantize(%m, %s, %z)
  return (%q)
"""
    Golden("propagate").check(before, None, inputs=[x])


def test_a_part_of_what_is_quantized_anyway(x: torch.Tensor) -> None:
    before = f"""graph(%x : Tensor):{QPARAMS}
  %m : Tensor = aten::select(%x, %zero, %one)
  %q : Tensor = ipex_quant::quantize(%m, %s, %z)
  %w : Tensor = ipex_quant::quantize(%x, %s, %z)
  %c : Tensor = aten::add(%q, %w, %one)
  return (%c)
"""
    after = """
graph(%0):
  %1 = ipex_quant::quantize(%0, 0.5, 3)
  %2 = aten::select(%1, 0, 1)
  %3 = aten::add(%2, %1, 1)
  return (%3)
"""
    Golden("propagate").check(before, after, inputs=[x])


def test_equal_pairs_cancel(codes: torch.Tensor) -> None:
    before = f"""graph(%q : Tensor):{QPARAMS}
  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %m : Tensor = aten::transpose(%x, %one, %two)
  %y : Tensor = ipex_quant::quantize(%m, %s, %z)
  return (%y)
"""
    after = """
graph(%0):
  %1 = aten::transpose(%0, 1, 2)
  return (%1)
"""
    Golden("propagate").check(before, after, inputs=[codes])


def test_different_pairs_become_requantize(codes: torch.Tensor) -> None:
    before = f"""graph(%q : Tensor):{QPARAMS}
  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %y : Tensor = ipex_quant::quantize(%x, %s2, %z2)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::requantize(%0, 0.5, 3, 0.25, 7)
  return (%1)
"""
    Golden("propagate").check(before, after, inputs=[codes])


@pytest.mark.parametrize(
    "ops",
    [
        ["aten::relu(%v0)"],
        ["aten::sigmoid(%v0)", "aten::mul(%v1, %two)", "aten::exp(%v2)"],
        ["aten::clamp(%v0, %minus1, %none)", "aten::div(%v1, %two)"],
    ],
)
def test_elementwise_ops_become_a_table(ops: list[str], codes: torch.Tensor) -> None:
    body = "\n".join(f"  %v{i + 1} : Tensor = {op}" for i, op in enumerate(ops))
    before = f"""graph(%q : Tensor):{QPARAMS}
  %v0 : Tensor = ipex_quant::dequantize(%q, %s, %z)
{body}
  %y : Tensor = ipex_quant::quantize(%v{len(ops)}, %s2, %z2)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::lut(%0, <256>)
  return (%1)
"""
    Golden("propagate").check(before, after, inputs=[codes])


def test_two_tables_become_one(codes: torch.Tensor) -> None:
    before = f"""graph(%q : Tensor):{QPARAMS}
  %a : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %b : Tensor = aten::relu(%a)
  %c : Tensor = ipex_quant::quantize(%b, %s2, %z2)
  %d : Tensor = ipex_quant::dequantize(%c, %s2, %z2)
  %e : Tensor = aten::tanh(%d)
  %y : Tensor = ipex_quant::quantize(%e, %s, %z)
  return (%y)
"""
    after = """
graph(%0):
  %1 = ipex_quant::lut(%0, <256>)
  return (%1)
"""
    Golden("propagate").check(before, after, inputs=[codes])


def test_chunks_are_moved_together(codes: torch.Tensor) -> None:
    before = f"""graph(%q : Tensor):{QPARAMS}
  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %l : Tensor[] = aten::chunk(%x, %two, %one)
  %a : Tensor, %b : Tensor = prim::ListUnpack(%l)
  %y : Tensor = aten::sub(%a, %b, %one)
  return (%y)
"""
    after = """
graph(%0):
  %1 = aten::chunk(%0, 2, 1)
  %2, %3 = prim::ListUnpack(%1)
  %4 = ipex_quant::dequantize(%2, 0.5, 3)
  %5 = ipex_quant::dequantize(%3, 0.5, 3)
  %6 = aten::sub(%4, %5, 1)
  return (%6)
"""
    Golden("propagate").check(before, after, inputs=[codes])


def test_cat_of_equal_qparams_moves_int8(codes: torch.Tensor) -> None:
    before = f"""graph(%p : Tensor, %q : Tensor):{QPARAMS}
  %a : Tensor = ipex_quant::dequantize(%p, %s, %z)
  %b : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %l : Tensor[] = prim::ListConstruct(%a, %b)
  %y : Tensor = aten::cat(%l, %one)
  return (%y)
"""
    after = """
graph(%0, %1):
  %2 = ipex_quant::cat([%0, %1], [0.5, 0.5], [3, 3], 1, 0.5, 3)
  %3 = ipex_quant::dequantize(%2, 0.5, 3)
  return (%3)
"""
    Golden("propagate").check(before, after, inputs=[codes, codes])


def test_cat_of_different_qparams_stays(codes: torch.Tensor) -> None:
    before = f"""graph(%p : Tensor, %q : Tensor):{QPARAMS}
  %a : Tensor = ipex_quant::dequantize(%p, %s, %z)
  %b : Tensor = ipex_quant::dequantize(%q, %s2, %z)
  %l : Tensor[] = prim::ListConstruct(%a, %b)
  %y : Tensor = aten::cat(%l, %one)
  return (%y)
"""
    Golden("propagate").check(before, None, inputs=[codes, codes])


def test_sizes_are_read_from_int8(codes: torch.Tensor) -> None:
    before = f"""graph(%q : Tensor):{QPARAMS}
  %x : Tensor = ipex_quant::dequantize(%q, %s, %z)
  %n : int = aten::size(%x, %zero)
  %l : int[] = prim::ListConstruct(%n, %minus1)
  %y : Tensor = aten::reshape(%x, %l)
  return (%y)
"""
    after = """
graph(%0):
  %1 = aten::size(%0, 0)
  %2 = aten::reshape(%0, [%1, -1])
  %3 = ipex_quant::dequantize(%2, 0.5, 3)
  return (%3)
"""
    Golden("propagate").check(before, after, inputs=[codes])


@pytest.mark.parametrize(
    "move",
    [
        "aten::constant_pad_nd(%x, %sizes, %one)",  # 1 has no exact code
        "aten::softmax(%x, %one, %none)",
        "aten::cumsum(%x, %one, %none)",
    ],
)
def test_other_ops_keep_the_pair(move: str, x: torch.Tensor) -> None:
    before = f"""graph(%x : Tensor):{QPARAMS}
  %m : Tensor = {move}
  %q : Tensor = ipex_quant::quantize(%m, %s, %z)
  return (%q)
"""
    Golden("propagate").check(before, None, inputs=[x])


def test_nothing_moves_above_a_write_in_place(x: torch.Tensor) -> None:
    before = f"""graph(%x : Tensor):{QPARAMS}
  %y : Tensor = aten::mul(%x, %two)
  %m : Tensor = aten::transpose(%y, %one, %two)
  %w : Tensor = aten::add_(%y, %one, %one)
  %q : Tensor = ipex_quant::quantize(%m, %s, %z)
  return (%q)
"""
    Golden("propagate").check(before, None, inputs=[x])
