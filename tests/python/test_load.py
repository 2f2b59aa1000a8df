"""jit.load gives the saved module back, with its plan made."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ipex_quant


def test_load_gives_the_same_bits(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(3, 8)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    prepared = ipex_quant.prepare(
        model, ipex_quant.default_static_qconfig_mapping, example_inputs=x
    )
    prepared(x)
    quantized = ipex_quant.jit.quantize(torch.jit.trace(prepared, x))
    path = tmp_path / "model.pt"
    quantized.save(str(path))
    loaded = ipex_quant.jit.load(str(path))
    assert torch.equal(loaded(x), quantized(x))
    assert ipex_quant.report(loaded).to_dict() == ipex_quant.report(quantized).to_dict()


def test_executed_graph_is_the_bound_graph():
    """No profiling: what runs is what was bound, from the first call on."""
    torch.manual_seed(0)
    x = torch.randn(3, 8)
    prepared = ipex_quant.prepare(
        nn.Sequential(nn.Linear(8, 4)).eval(),
        ipex_quant.default_static_qconfig_mapping,
        example_inputs=x,
    )
    prepared(x)
    quantized = ipex_quant.jit.quantize(torch.jit.trace(prepared, x))
    for _ in range(3):
        quantized(x)
        ran = str(torch.jit.last_executed_optimized_graph())
        assert "prim::profile" not in ran
        assert "ipex_quant::linear" in ran


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises((ValueError, RuntimeError, FileNotFoundError)):
        ipex_quant.jit.load(str(tmp_path / "none.pt"))
