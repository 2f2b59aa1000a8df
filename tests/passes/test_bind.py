"""bind: packing ops become constants, one for each weight and epilogue."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden, ir
from ipex_quant import _C

CONSTANTS = """
  %w : Float(8, 8) = prim::Constant[value=<Tensor>]()
  %ws : Float(8) = prim::Constant[value=<Tensor>]()
  %k : Float(8, 8, 3, 3) = prim::Constant[value=<Tensor>]()
  %s : float = prim::Constant[value=0.5]()
  %z : int = prim::Constant[value=3]()
  %none : NoneType = prim::Constant()
  %false : bool = prim::Constant[value=0]()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %ones : int[] = prim::Constant[value=[1, 1]]()
  %zeros : int[] = prim::Constant[value=[0, 0]]()
  %relu : str = prim::Constant[value="relu"]()
  %quantize : str = prim::Constant[value="quantize(0.5,3)"]()"""
TENSORS = [torch.randn(8, 8), torch.rand(8) * 0.01 + 0.02, torch.randn(8, 8, 3, 3)]
PACKED_LINEAR = "__torch__.torch.classes.ipex_quant.PackedLinear"
PACKED_CONV = "__torch__.torch.classes.ipex_quant.PackedConv"


def linear(number: int, x: str, epilogue: str) -> str:
    arguments = f"%w8{number}, %ws, %none, %s, %z, %{epilogue}"
    return f"""  %w8{number} : Tensor = ipex_quant::quantize_weight(%w, %ws, %zero)
  %p{number} : {PACKED_LINEAR} = ipex_quant::linear_prepack({arguments})
  %l{number} : Tensor[] = prim::ListConstruct()
  %y{number} : Tensor = ipex_quant::linear(%{x}, %p{number}, %l{number})"""


GEOMETRY = "%ones, %ones, %ones, %zeros, %one, %false"
CONV = f"""  %w8 : Tensor = ipex_quant::quantize_weight(%k, %ws, %zero)
  %p : {PACKED_CONV} = ipex_quant::conv_prepack(%w8, %ws, %none, {GEOMETRY}, %s, %z, %relu)
  %l : Tensor[] = prim::ListConstruct()
  %y : Tensor = ipex_quant::conv(%q, %p, %l)"""


def graph(*lines: str, result: str = "y") -> str:
    return "\n".join([f"graph(%x : Tensor):{CONSTANTS}", *lines, f"  return (%{result})\n"])


def check(before: str, after: str, *inputs: torch.Tensor) -> torch._C.Graph:
    return Golden("bind").check(before, after, constants=TENSORS, inputs=inputs)


def test_packing_is_folded() -> None:
    before = graph(linear(0, "x", "relu"), result="y0")
    after = "graph(%0):\n  %1 = ipex_quant::linear(%0, <PackedLinear>, [])\n  return (%1)"
    result = check(before, after, torch.randint(0, 256, (4, 8), dtype=torch.uint8))
    tensors = [n for n in result.nodes() if n.kind() == "prim::Constant" and "Float" in str(n)]
    assert not tensors, "no float weight is left"


@pytest.mark.parametrize(("epilogue", "packed"), [("quantize", 1), ("relu", 2)])
def test_one_object_for_equal_weights(epilogue: str, packed: int) -> None:
    before = graph(
        linear(0, "x", "quantize"),
        linear(1, "y0", epilogue),
        linear(2, "x", "quantize"),
        "  %t : Tensor = aten::add(%y1, %y2, %one)",
        result="t",
    )
    parsed = _C.parse_ir(before, TENSORS)
    assert _C.run_compile_pass("bind", parsed, [])
    objects = [n for n in parsed.nodes() if "object" in str(n)]
    assert len(objects) == packed
    assert sum(n.kind() == "ipex_quant::linear" for n in parsed.nodes()) == 2, "equal calls are one"


def test_quantize_for_convolutions_is_channels_last() -> None:
    before = graph("  %q : Tensor = ipex_quant::quantize(%x, %s, %z)", CONV)
    after = """
graph(%0):
  %1 = ipex_quant::quantize_channels_last(%0, 0.5, 3)
  %2 = ipex_quant::conv(%1, <PackedConv>, [])
  return (%2)
"""
    check(before, after, torch.randn(2, 8, 5, 5))


def test_quantize_with_another_reader_keeps_its_layout() -> None:
    before = graph(
        "  %q : Tensor = ipex_quant::quantize(%x, %s, %z)",
        CONV,
        "  %d : Tensor = ipex_quant::dequantize(%q, %s, %z)",
        "  %t : Tensor = aten::add(%y, %d, %one)",
        result="t",
    )
    parsed = _C.parse_ir(before, TENSORS)
    assert _C.run_compile_pass("bind", parsed, [])
    assert "channels_last" not in ir(parsed)


def test_packing_of_what_is_not_constant_stays() -> None:
    text = f"""graph(%x : Tensor, %w8 : Tensor):
  %ws : Float(8) = prim::Constant[value=<Tensor>]()
  %s : float = prim::Constant[value=0.5]()
  %z : int = prim::Constant[value=3]()
  %none : NoneType = prim::Constant()
  %relu : str = prim::Constant[value="relu"]()
  %p : {PACKED_LINEAR} = ipex_quant::linear_prepack(%w8, %ws, %none, %s, %z, %relu)
  %l : Tensor[] = prim::ListConstruct()
  %y : Tensor = ipex_quant::linear(%x, %p, %l)
  return (%y)
"""
    parsed = _C.parse_ir(text, [TENSORS[1]])
    _C.run_compile_pass("bind", parsed, [])
    assert "ipex_quant::linear_prepack" in ir(parsed)
