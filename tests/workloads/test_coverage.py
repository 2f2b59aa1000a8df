"""What runs in int8: no float islands in the CNNs, every linear and matmul of the transformers."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import graph_queries as graph
import ipex_quant
from models.resnet import resnet50, settle

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def became(module: torch.jit.ScriptModule, *ops: str) -> Counter:
    """How many operators of these names became what."""
    rows = ipex_quant.report(module).to_dict()["ops"]
    return Counter(row["became"] for row in rows if row["op"].split("::")[-1] in ops)


@pytest.mark.parametrize("name", ["effnet_lite0", "mnist_resnet"])
def test_cnn_has_no_float_op_inside(name: str, quantize_workload) -> None:
    """From the first quantize to the last dequantize everything is int8."""
    module = quantize_workload(name).module
    assert graph.float_ops_between(module) == []
    assert became(module, "conv2d", "_convolution", "linear")["float"] == 0


def test_resnet50_has_no_float_op_inside() -> None:
    """The same of ResNet-50: residual additions and pools, too."""
    torch.manual_seed(0)
    model = settle(resnet50(), torch.randn(4, 3, 96, 96))
    x = torch.randn(1, 3, 96, 96)
    prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, example_inputs=(x,))
    with torch.no_grad():
        prepared(x)
        module = ipex_quant.jit.quantize(torch.jit.trace(prepared, x))
    assert graph.float_ops_between(module) == []
    counts = Counter(graph.kinds(module))
    assert counts["ipex_quant::conv"] == 53
    assert counts["ipex_quant::linear"] == 1


@pytest.mark.parametrize(
    ("name", "linears", "matmuls"), [("minilm", 24, 12), ("vit_digits", 13, 6)]
)
def test_transformer_multiplies_in_int8(
    name: str, linears: int, matmuls: int, quantize_workload
) -> None:
    """Every linear and both matmuls of each attention layer run the int8 kernels.

    The linears of a layer are one for query, key and value, the output's, and the two of its MLP;
    some take a scale per row.
    """
    counts = Counter(graph.kinds(quantize_workload(name).module))
    assert counts["ipex_quant::linear"] + counts["ipex_quant::linear_dynamic"] == linears
    assert counts["ipex_quant::attention"] == matmuls // 2
    assert not counts["ipex_quant::matmul"]
    assert not counts["aten::linear"] + counts["aten::matmul"] + counts["aten::bmm"]
    assert not counts["aten::scaled_dot_product_attention"]


@pytest.mark.parametrize(
    ("name", "op"), [("resemblyzer_lstm", "lstm"), ("digits_lstm", "lstm"), ("digits_gru", "gru")]
)
def test_recurrent_layers_run_in_int8(name: str, op: str, quantize_workload) -> None:
    """All layers and directions are one operator, and that runs the int8 kernel."""
    module = quantize_workload(name).module
    kinds = graph.kinds(module)
    assert kinds.count(f"ipex_quant::{op}") == 1
    assert f"aten::{op}" not in kinds
    assert became(module, op) == {"int8": 1}


def test_every_float_op_has_a_reason(quantize_workload) -> None:
    """Nothing is silent: the report says why an operator stayed float."""
    for name in ("effnet_lite0", "minilm", "resemblyzer_lstm"):
        rows = ipex_quant.report(quantize_workload(name).module).to_dict()["ops"]
        silent = [row for row in rows if row["became"] == "float" and not row["reason"]]
        assert not silent, name
