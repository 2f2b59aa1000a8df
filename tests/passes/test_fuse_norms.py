"""fuse-norms: softmax and layer_norm with the quantize behind them become one op."""

from __future__ import annotations

import pytest
import torch

from compile_tools import Golden

HEAD = """
  %w : Float(8) = prim::Constant[value=<Tensor>]()
  %b : Float(8) = prim::Constant[value=<Tensor>]()
  %s : float = prim::Constant[value=0.05]()
  %z : int = prim::Constant[value=120]()
  %s2 : float = prim::Constant[value=0.004]()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %minus1 : int = prim::Constant[value=-1]()
  %none : NoneType = prim::Constant()
  %true : bool = prim::Constant[value=1]()
  %eps : float = prim::Constant[value=1e-5]()
  %shape : int[] = prim::Constant[value=[8]]()"""
TENSORS = [torch.randn(8), torch.randn(8)]
NORM = "  %y : Tensor = aten::layer_norm(%x, %shape, %w, %b, %eps, %true)"
QUANTIZE = "  %q : Tensor = ipex_quant::quantize(%y, %s, %z)"


def graph(*lines: str, results: str = "%q", inputs: str = "%x : Tensor") -> str:
    return "\n".join([f"graph({inputs}):{HEAD}", *lines, f"  return ({results})\n"])


def check(before: str, after: str | None, tolerance: float = 1.0) -> None:
    """Codes may differ by one step: the rounding of float32 sums differs from torch's."""
    inputs = [torch.randn(5, 8)]
    Golden("fuse-norms").check(before, after, constants=TENSORS, inputs=inputs, tolerance=tolerance)


def test_layer_norm_that_only_quantize_reads() -> None:
    after = """
graph(%0):
  %1 = ipex_quant::layer_norm_quantize(%0, <8>, <8>, 1e-05, None, 0.05, 120)
  return (%1)"""
    check(graph(NORM, QUANTIZE), after)


def test_layer_norm_that_is_read_in_float_too() -> None:
    after = """
graph(%0):
  %1, %2 = ipex_quant::layer_norm(%0, <8>, <8>, 1e-05, None, 0.05, 120)
  %3 = ipex_quant::dequantize(%2, 0.05, 120)
  %4 = aten::add(%1, %3, 1)
  return (%4)"""
    d = "  %d : Tensor = ipex_quant::dequantize(%q, %s, %z)"
    r = "  %r : Tensor = aten::add(%y, %d, %one)"
    check(graph(NORM, QUANTIZE, d, r, results="%r"), after, tolerance=0.051)


def test_second_quantize_stays() -> None:
    after = """
graph(%0):
  %1, %2 = ipex_quant::layer_norm(%0, <8>, <8>, 1e-05, None, 0.05, 120)
  %3 = ipex_quant::quantize(%1, 0.004, 0)
  %4 = aten::maximum(%2, %3)
  return (%4)"""
    second = "  %q2 : Tensor = ipex_quant::quantize(%y, %s2, %zero)"
    r = "  %r : Tensor = aten::maximum(%q, %q2)"
    check(graph(NORM, QUANTIZE, second, r, results="%r"), after)


def test_layer_norm_without_weights() -> None:
    after = """
graph(%0):
  %1 = ipex_quant::layer_norm_quantize(%0, <8>, <8>, 1e-05, None, 0.05, 120)
  return (%1)"""
    check(graph(NORM.replace("%w, %b", "%none, %none"), QUANTIZE), after)


FACTOR = "  %f : Tensor = aten::mul(%y, %b)"


def test_factor_per_channel() -> None:
    after = """
graph(%0):
  %1, %2 = ipex_quant::layer_norm(%0, <8>, <8>, 1e-05, <8>, 0.05, 120)
  %3 = ipex_quant::dequantize(%2, 0.05, 120)
  %4 = aten::add(%1, %3, 1)
  return (%4)"""
    d = "  %d : Tensor = ipex_quant::dequantize(%q, %s, %z)"
    r = "  %r : Tensor = aten::add(%y, %d, %one)"
    before = graph(NORM, FACTOR, QUANTIZE.replace("%y", "%f"), d, r, results="%r")
    check(before, after, tolerance=0.051)


def test_factor_that_is_read_twice_stays() -> None:
    both = "  %r : Tensor = aten::add(%f, %q, %one)"
    check(graph(NORM, FACTOR, QUANTIZE.replace("%y", "%f"), both, results="%r"), None)


def test_layer_norm_in_float_stays() -> None:
    check(graph(NORM, results="%y"), None)


def test_softmax_that_only_quantize_reads() -> None:
    after = """
graph(%0):
  %1 = ipex_quant::softmax(%0, 0.004, 0)
  return (%1)"""
    softmax = "  %y : Tensor = aten::softmax(%x, %minus1, %none)"
    quantize = "  %q : Tensor = ipex_quant::quantize(%y, %s2, %zero)"
    check(graph(softmax, quantize), after)
    check(graph(softmax.replace("softmax", "_safe_softmax"), quantize), after)


@pytest.mark.parametrize(
    ("softmax", "quantize", "results"),
    [
        ("aten::softmax(%x, %minus1, %none)", "%s2, %zero", "%r"),  # read in float, too
        ("aten::softmax(%x, %zero, %none)", "%s2, %zero", "%q"),  # not the last dimension
        ("aten::softmax(%x, %one, %none)", "%s2, %zero", "%q"),  # of an unknown rank
        ("aten::_safe_softmax(%x, %minus1, %none)", "%s, %z", "%q"),  # NaN is not 0 there
    ],
)
def test_softmax_that_stays(softmax: str, quantize: str, results: str) -> None:
    lines = (
        f"  %y : Tensor = {softmax}",
        f"  %q : Tensor = ipex_quant::quantize(%y, {quantize})",
        *(["  %r : Tensor = aten::add(%y, %q, %one)"] if results == "%r" else []),
    )
    check(graph(*lines, results=results), None)


RMS = "  %y : Tensor = aten::rms_norm(%x, %shape, %w, %eps)"


@pytest.mark.parametrize(
    ("norm", "eps"),
    [
        (RMS, "1e-05"),
        (RMS.replace("%w", "%none"), "1e-05"),
        (RMS.replace("%eps", "%none"), "1.19209e-07"),
    ],
)
def test_rms_norm_that_only_quantize_reads(norm: str, eps: str) -> None:
    after = f"""
graph(%0):
  %1 = ipex_quant::rms_norm_quantize(%0, <8>, {eps}, 0.05, 120)
  return (%1)"""
    check(graph(norm, QUANTIZE), after)


def test_rms_norm_times_a_factor() -> None:
    after = """
graph(%0):
  %1 = ipex_quant::rms_norm_quantize(%0, <8>, 1e-05, 0.05, 120)
  return (%1)"""
    check(graph(RMS, FACTOR, QUANTIZE.replace("%y", "%f")), after)


def test_rms_norm_that_is_read_in_float_stays() -> None:
    both = "  %r : Tensor = aten::add(%y, %q, %one)"
    check(graph(RMS, QUANTIZE, both, results="%r"), None)


GROUP_NORM = "  %y : Tensor = aten::group_norm(%x, %two, %w, %b, %eps, %true)"
INSTANCE_NORM = """  %y : Tensor = aten::instance_norm(%x, %none, %none, %none, %none, {}, %eps, \
%eps, %true)"""
TWO = "  %two : int = prim::Constant[value=2]()"
SILU = "  %u : Tensor = aten::silu(%y)"
QUANTIZE_SILU = "  %q : Tensor = ipex_quant::quantize(%u, %s, %z)"


def check_groups(after: str, *lines: str, results: str = "%q", tolerance: float = 1.0) -> None:
    before = graph(TWO, *lines, results=results)
    Golden("fuse-norms").check(
        before, after, constants=TENSORS, inputs=[torch.randn(3, 8, 6, 5)], tolerance=tolerance
    )


@pytest.mark.parametrize(
    ("norm", "arguments"),
    [(GROUP_NORM, "2, <8>, <8>"), (INSTANCE_NORM.format("%true"), "-1, None, None")],
)
def test_group_norm(norm: str, arguments: str) -> None:
    after = """graph(%0):
  %1 = ipex_quant::group_norm(%0, {}, 1e-05, '{}quantize(0.0500000007,120)')
  return (%1)"""
    check_groups(after.format(arguments, ""), norm, QUANTIZE)
    check_groups(after.format(arguments, "silu|"), norm, SILU, QUANTIZE_SILU)


def test_shape_of_what_group_norm_takes_in() -> None:
    """Reads of a shape stand in front of the quantize."""
    size = "  %n : int = aten::size(%u, %one)"
    again = "  %r : Tensor = aten::view(%q, %l)"
    rows = "  %l : int[] = prim::ListConstruct(%n, %minus1)"
    check_groups(
        """graph(%0):
  %1 = ipex_quant::group_norm(%0, 2, <8>, <8>, 1e-05, 'silu|quantize(0.0500000007,120)')
  %2 = aten::size(%1, 1)
  %3 = aten::reshape(%1, [%2, -1])
  return (%3)""",
        *(GROUP_NORM, SILU, size, QUANTIZE_SILU, rows, again.replace("view", "reshape")),
        results="%r",
    )


@pytest.mark.parametrize(
    "lines",
    [
        (GROUP_NORM, SILU, "  %q : Tensor = aten::add(%u, %y, %one)"),  # read twice
        (GROUP_NORM, "  %u : Tensor = aten::softmax(%y, %one, %none)", QUANTIZE_SILU),
        (INSTANCE_NORM.format("%false"), QUANTIZE),  # of running statistics
    ],
)
def test_group_norm_that_stays(lines: tuple[str, ...]) -> None:
    false = "  %false : bool = prim::Constant[value=0]()"
    before = graph(TWO, false, *lines)
    Golden("fuse-norms").check(before, None, constants=TENSORS)
