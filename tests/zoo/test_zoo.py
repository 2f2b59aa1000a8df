"""Every model of the zoo, small: traces, quantizes both ways, runs on other sizes, says why not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

import ipex_quant
from bench import zoo
from bench.zoo_list import MODELS, Inputs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

FAMILIES = ("bert", "distilbert", "vit", "gpt2", "t5", "albert")
TRANSFORMERS = [f"{family}_{kind}" for family in FAMILIES for kind in ("eager", "sdpa")]
#: Operators with weights or of two activations: what int8 is for.
HEAVY = {
    *("aten::conv1d", "aten::conv2d", "aten::conv_transpose1d", "aten::conv_transpose2d"),
    *("aten::linear", "aten::addmm", "aten::matmul", "aten::bmm", "aten::baddbmm"),
    *("aten::scaled_dot_product_attention", "aten::lstm", "aten::gru", "aten::embedding"),
}


def model_and_data(name: str) -> tuple[torch.nn.Module, list[Inputs]]:
    if name in TRANSFORMERS and importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    torch.manual_seed(0)
    entry = MODELS[name]
    return entry.make(True).eval(), [entry.draw(True, 0) for _ in range(3)]


def check(name: str, model: torch.nn.Module, quantized: torch.jit.ScriptModule) -> None:
    """Close to float on all sizes, all heavy operators int8, and a reason for each other."""
    entry = MODELS[name]
    with torch.no_grad():
        for number in (0, *entry.free):
            inputs = entry.draw(True, number)
            error = zoo.relative_error(zoo.call(quantized, inputs), zoo.call(model, inputs))
            assert error < 0.1, f"inputs {number}"
    rows = ipex_quant.report(quantized)
    assert not [row for row in rows if row.became == "float" and not row.reason]
    # The first step of a cell has a state of zeros, which has no range.
    left = [r for r in rows if r.op in HEAVY and r.became != "int8" and "zero" not in r.reason]
    assert not left


@pytest.mark.parametrize("name", MODELS)
def test_prepared_model(name: str, tmp_path: Path) -> None:
    model, data = model_and_data(name)
    quantized = zoo.quantize(model, data)
    check(name, model, quantized)
    quantized.save(str(tmp_path / "model.pt"))
    loaded = torch.jit.load(str(tmp_path / "model.pt"))
    with torch.no_grad():
        outputs = [zoo.tensors(zoo.call(m, data[0])) for m in (quantized, loaded)]
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_trace_with_calibration_data(name: str) -> None:
    model, data = model_and_data(name)
    traced = zoo.trace(model, data[0])
    check(name, model, ipex_quant.jit.quantize(traced, calibration_data=data))


@pytest.mark.parametrize("name", [n for n in TRANSFORMERS if not n.startswith("vit")])
def test_padding_has_no_effect(name: str) -> None:
    """Other ids behind the mask: the same bits where the mask reads."""
    model, data = model_and_data(name)
    quantized = zoo.quantize(model, data)
    ids, mask = data[0]["input_ids"], data[0]["attention_mask"]
    others = torch.where(mask == 1, ids, torch.randint_like(ids, 1, 500))
    assert not torch.equal(ids, others)
    with torch.no_grad():
        outputs = [
            zoo.tensors(quantized(input_ids=x, attention_mask=mask))[0][mask == 1]
            for x in (ids, others)
        ]
    assert torch.equal(*outputs)
