"""Every model of the zoo, small: traces, quantizes both ways, runs on other sizes, says why not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

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
OTHERS = ["swin", "deberta", "wav2vec2"]
TEXT = [name for name in TRANSFORMERS if not name.startswith("vit")]
#: Operators with weights or of two activations: what int8 is for.
HEAVY = {
    *("aten::conv1d", "aten::conv2d", "aten::conv_transpose1d", "aten::conv_transpose2d"),
    *("aten::linear", "aten::addmm", "aten::matmul", "aten::bmm", "aten::baddbmm"),
    *("aten::scaled_dot_product_attention", "aten::lstm", "aten::gru", "aten::embedding"),
}


def model_and_data(name: str) -> tuple[torch.nn.Module, list[Inputs]]:
    if name in (*TRANSFORMERS, *OTHERS) and importlib.util.find_spec("transformers") is None:
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
    # DeBERTa projects its table of positions, a constant, which is folded.
    done = ("int8", "removed")
    left = [r for r in rows if r.op in HEAVY and r.became not in done and "zero" not in r.reason]
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


def texts(name: str, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and a mask of ones, in the sizes of that draw."""
    ids = MODELS[name].draw(True, number)["input_ids"]
    return ids, torch.ones_like(ids)


def states(module: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The first output: a vector for each token."""
    with torch.no_grad():
        return zoo.tensors(module(input_ids=ids, attention_mask=mask))[0]


@pytest.mark.parametrize("name", TEXT)
def test_padding_has_no_effect(name: str) -> None:
    """At another batch and length than the trace's: the same bits where the mask reads, whatever
    stands behind it, and where a text runs alone."""
    model, data = model_and_data(name)
    quantized = zoo.quantize(model, data)
    ids, mask = texts(name, 2)
    mask[0, -9:] = 0
    mask[1, :4] = 0  # padding on the left, as generation has it
    mask[2, [3, 7, 8]] = 0
    others = torch.where(mask == 1, ids, torch.randint_like(ids, 1, 500))
    assert not torch.equal(ids, others)
    output = states(quantized, ids, mask)
    assert torch.equal(output[mask == 1], states(quantized, others, mask)[mask == 1])
    alone = states(quantized, ids[:1, :-9], mask[:1, :-9])
    assert torch.equal(output[:1, :-9], alone)
    assert zoo.relative_error(output[mask == 1], states(model, ids, mask)[mask == 1]) < 0.1


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("masked", [True, False])
def test_calibration_without_padding(name: str, masked: bool) -> None:
    """transformers leaves the mask of such batches out, but not in the trace."""
    model, data = model_and_data(name)
    for inputs in data:
        if masked:
            inputs["attention_mask"] = torch.ones_like(inputs["attention_mask"])
        else:
            del inputs["attention_mask"]
    quantized = zoo.quantize(model, data)
    left = [r for r in ipex_quant.report(quantized) if r.op in HEAVY and r.became != "int8"]
    assert not left
    ids, mask = texts(name, 2)
    if masked:
        mask[-1, -5:] = 0
        got, expected = states(quantized, ids, mask), states(model, ids, mask)
    else:
        with torch.no_grad():
            got, expected = (zoo.tensors(m(input_ids=ids))[0] for m in (quantized, model))
    assert zoo.relative_error(got[mask == 1], expected[mask == 1]) < 0.1
