"""insert-quant-dequant: qparams that are missing or cannot be used are errors."""

from __future__ import annotations

import pytest
import torch

from compile_tools import site
from ipex_quant import _C
from test_insert_quant_dequant import TENSORS, graph, linear


def test_missing_qparams_are_an_error() -> None:
    parsed = _C.parse_ir(graph(linear("fc", "x", "y")), TENSORS)
    with pytest.raises(RuntimeError, match=r"site 'fc/linear/0' is int8 but has no qparams for"):
        _C.run_compile_pass("insert-quant-dequant", parsed, [site("fc/linear/0")])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (site("fc/linear/0", input=(0.0, 0)), "expected a positive finite scale"),
        (site("fc/linear/0", input=(float("nan"), 0)), "expected a positive finite scale"),
        (site("fc/linear/0", input=(1.0, 256)), "a zero point from 0 to 255"),
    ],
)
def test_bad_qparams_are_an_error(params: _C.SiteParams, message: str) -> None:
    parsed = _C.parse_ir(graph(linear("fc", "x", "y")), TENSORS)
    with pytest.raises(RuntimeError, match=message):
        _C.run_compile_pass("insert-quant-dequant", parsed, [params])


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        (torch.ones(3), "got 3 scales, expected 1 or 8"),
        (torch.zeros(8), "a scale is zero, negative or not finite"),
    ],
)
def test_bad_weight_scales_are_an_error(scales: torch.Tensor, message: str) -> None:
    params = _C.SiteParams(
        "fc/linear/0",
        int8=True,
        operands=[
            _C.OperandParams("input", scale=0.5, zero_point=0),
            _C.OperandParams("weight", kind="weight", scales=scales),
        ],
    )
    parsed = _C.parse_ir(graph(linear("fc", "x", "y")), TENSORS)
    with pytest.raises(RuntimeError, match=message):
        _C.run_compile_pass("insert-quant-dequant", parsed, [params])
