"""compile: small models from float to int8, by the graph and by the numbers."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compile_models import (
    Attention,
    Decoder,
    Gated,
    Inception,
    MobileNet,
    OneDimensional,
    Ranking,
    ResNet,
    Shared,
    Shuffle,
    Speech,
    SqueezeExcite,
)
from compile_tools import Compiled
from ipex_quant import _C

MODELS = {
    "resnet": (ResNet, (2, 3, 64, 64), 0.03),
    "mobilenet": (MobileNet, (2, 3, 40, 40), 0.03),
    "squeeze_excite": (SqueezeExcite, (2, 3, 20, 20), 0.03),
    "inception": (Inception, (2, 3, 16, 16), 0.03),
    "attention": (lambda: Attention(False), (2, 6, 32), 0.02),
    "sdpa": (lambda: Attention(True), (2, 6, 32), 0.02),
    "speech": (Speech, (3, 7, 20), 0.03),
    "gated": (Gated, (3, 7, 20), 0.03),
    "one_dimensional": (OneDimensional, (2, 4, 12), 0.03),
    "shared": (Shared, (2, 3, 32), 0.03),
    "decoder": (Decoder, (2, 3, 32, 32), 0.03),
    "shuffle": (Shuffle, (2, 3, 10, 10), 0.03),
    "ranking": (Ranking, (4, 8), 0.03),
}
# Ops that move data or describe it.
MOVES = {
    "aten::flatten",
    "aten::reshape",
    "aten::size",
    "aten::cat",
    "aten::chunk",
    "aten::contiguous",
    "aten::floor_divide",
    "aten::Int",
    "aten::transpose",
    "aten::upsample_nearest1d",
    "aten::upsample_nearest2d",
}
CNNS = [
    "resnet",
    "mobilenet",
    "squeeze_excite",
    "inception",
    "one_dimensional",
    "decoder",
    "shuffle",
]


def settle(model: nn.Module, *inputs: torch.Tensor) -> None:
    """Batch norms with the statistics of these inputs."""
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(*inputs)


@pytest.fixture(scope="module")
def models() -> dict[str, Compiled]:
    torch.manual_seed(0)
    compiled = {}
    for name, (make, shape, _) in MODELS.items():
        model, x = make(), torch.randn(shape)
        settle(model, x)
        compiled[name] = Compiled(model, x)
    return compiled


@pytest.mark.parametrize("name", MODELS)
def test_close_to_float(models: dict[str, Compiled], name: str) -> None:
    assert models[name].error() < MODELS[name][2]


@pytest.mark.parametrize("name", MODELS)
def test_equals_the_pairs_that_were_inserted(models: dict[str, Compiled], name: str) -> None:
    """Moving, fusing and packing change nothing but a last digit here and there."""
    compiled = models[name]
    wanted = compiled.fake_quantized()(*compiled.inputs)
    with torch.no_grad():
        got = compiled.module(*compiled.inputs)
    if isinstance(wanted, torch.Tensor):
        wanted, got = (wanted,), (got,)
    for w, g in zip(wanted, got, strict=True):
        assert ((w - g).norm() / w.norm()).item() < 0.01


@pytest.mark.parametrize("name", MODELS)
def test_any_batch_size(models: dict[str, Compiled], name: str) -> None:
    compiled = models[name]
    x = compiled.inputs[0]
    assert compiled.error(torch.cat([x, x, x])) < MODELS[name][2] * 1.1


@pytest.mark.parametrize("name", CNNS)
def test_any_image_size(models: dict[str, Compiled], name: str) -> None:
    compiled = models[name]
    x = F.pad(compiled.inputs[0], (0, 8) * (compiled.inputs[0].dim() - 2))
    assert compiled.module(x).shape == compiled.model(x).shape


@pytest.mark.parametrize("name", CNNS)
def test_no_float_op_inside(models: dict[str, Compiled], name: str) -> None:
    kinds = models[name].kinds
    assert kinds[0] == "ipex_quant::quantize_channels_last"
    assert not {kind for kind in kinds[1:] if kind.startswith("aten::")} - MOVES
    assert not [kind for kind in kinds[1:] if "quantize" in kind]


def test_resnet_is_convolutions_only(models: dict[str, Compiled]) -> None:
    assert models["resnet"].kinds == [
        "ipex_quant::quantize_channels_last",
        "ipex_quant::conv",
        "ipex_quant::max_pool",
        *["ipex_quant::conv"] * 7,
        "ipex_quant::adaptive_avg_pool",
        "aten::flatten",
        "ipex_quant::linear",
    ]


def test_epilogues_of_a_residual_block(models: dict[str, Compiled]) -> None:
    rows = [r for r in models["resnet"].report if r["module"] == "blocks.0.conv2"]
    steps = [step.split("(")[0] for step in rows[0]["epilogue"].split("|")]
    assert steps == ["add_u8", "relu", "quantize"]


def test_gate_that_enlarges_is_a_product(models: dict[str, Compiled]) -> None:
    assert models["squeeze_excite"].kinds.count("ipex_quant::binary") == 1


@pytest.mark.parametrize("name", ["attention", "sdpa"])
def test_attention_multiplies_in_int8(models: dict[str, Compiled], name: str) -> None:
    counts = Counter(models[name].kinds)
    assert counts["ipex_quant::linear"] == 4
    assert counts["ipex_quant::attention"] == 1
    assert not counts["ipex_quant::matmul"] + counts["ipex_quant::softmax"]
    assert not counts["aten::linear"] + counts["aten::matmul"] + counts["aten::add"]
    assert counts["ipex_quant::layer_norm_quantize"] == 2
    assert not counts["ipex_quant::quantize"] + counts["aten::softmax"] + counts["aten::layer_norm"]


def test_interaction_stays_int8(models: dict[str, Compiled]) -> None:
    """From the dense feature and the embeddings through stack, product and cat to the head."""
    counts = Counter(models["ranking"].kinds)
    assert counts["ipex_quant::quantize"] == 1
    assert not counts["ipex_quant::dequantize"]
    assert counts["ipex_quant::linear"] == 2
    assert counts["ipex_quant::matmul"] == 1
    assert counts["ipex_quant::embedding_bag"] == 3


def test_shared_weight_is_stored_once(models: dict[str, Compiled]) -> None:
    """Four calls with four scales: four objects, one weight in the file."""
    compiled = models["shared"]
    assert compiled.kinds.count("ipex_quant::linear") == 4
    buffer = io.BytesIO()
    torch.jit.save(compiled.module, buffer)
    with zipfile.ZipFile(buffer) as archive:
        sizes = [i.file_size for i in archive.infolist() if "/constants/" in i.filename]
    assert sum(size == 32 * 32 for size in sizes) == 1


def test_no_float_weight_is_left(models: dict[str, Compiled]) -> None:
    for compiled in models.values():
        for node in compiled.module.graph.nodes():
            if node.kind() == "prim::Constant" and node.hasAttribute("value"):
                value = node.output().toIValue()
                large = isinstance(value, torch.Tensor) and value.numel() > 256
                assert not large, f"{node}"


def test_passes_leave_no_attributes(models: dict[str, Compiled]) -> None:
    for compiled in models.values():
        assert "iq_" not in str(compiled.module.graph)


@pytest.mark.parametrize("name", MODELS)
def test_save_and_load(models: dict[str, Compiled], name: str) -> None:
    compiled = models[name]
    buffer = io.BytesIO()
    torch.jit.save(compiled.module, buffer)
    buffer.seek(0)
    loaded = torch.jit.load(buffer)
    with torch.no_grad():
        wanted, got = compiled.module(*compiled.inputs), loaded(*compiled.inputs)
    if isinstance(wanted, torch.Tensor):
        wanted, got = (wanted,), (got,)
    for w, g in zip(wanted, got, strict=True):
        assert torch.equal(w, g)
    assert bytes(loaded._ipex_quant_report.tolist()) == compiled.report_text.encode()


def test_normalized_module_is_not_changed() -> None:
    model, x = ResNet().eval(), torch.randn(1, 3, 64, 64)
    compiled = Compiled(model, x)
    assert "ipex_quant::" not in str(compiled.normalized._get_method("forward").graph)


def test_sites_that_do_not_match_are_listed() -> None:
    compiled = Compiled(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), torch.randn(2, 8))
    other = [_C.SiteParams("1/linear/0")]
    message = r"(?s)sites of the graph:.*0/linear/0.*given:.*1/linear/0"
    with pytest.raises(RuntimeError, match=message):
        _C.compile(compiled.normalized, other)


def test_site_given_twice_is_an_error() -> None:
    compiled = Compiled(nn.Sequential(nn.Linear(8, 8)), torch.randn(2, 8))
    with pytest.raises(RuntimeError, match=r"site '0/linear/0' is given twice"):
        _C.compile(compiled.normalized, compiled.sites * 2)


def test_report_rows() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(288, 8),
    )
    keep = {"5/linear/0": "kept by the test"}
    compiled = Compiled(model, torch.randn(2, 3, 8, 8), keep_float=keep)
    rows = {(row["module"], row["op"].split("::")[1]): row for row in compiled.report}
    assert json.loads(compiled.report_text)["version"] == 1
    conv = next(row for (module, _), row in rows.items() if module == "0")
    assert (conv["became"], conv["kernel"]) == ("int8", "ipex_quant::conv")
    assert conv["epilogue"] == rows["2", "relu"]["epilogue"]
    assert rows["2", "relu"]["became"] == "int8"
    assert rows["3", "dropout"]["became"] == "removed"
    assert rows["5", "linear"]["became"] == "float"
    assert rows["5", "linear"]["reason"] == "kept by the test"


def test_report_says_which_operator_computes_a_norm(models: dict[str, Compiled]) -> None:
    rows = {row["op"]: row for row in models["attention"].report}
    for op, kernel in (("softmax", "attention"), ("layer_norm", "layer_norm_quantize")):
        found = rows[f"aten::{op}"]
        assert (found["became"], found["kernel"]) == ("float", f"ipex_quant::{kernel}")
        assert "float32" in found["reason"]


class CatAsResidual(nn.Module):
    """A convolution plus a cat of one tensor, whose parts have one scale."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 8, 1)
        self.second = nn.Conv2d(8, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.first(x))
        return torch.relu(self.second(y) + torch.cat([y, y], 1))


def test_a_cat_of_one_scale_has_a_shape_to_add() -> None:
    result = Compiled(CatAsResidual(), torch.randn(3, 8, 5, 5))
    assert result.kinds.count("ipex_quant::cat") == 1
    assert "aten::add" not in result.kinds


def test_report_says_what_a_pass_through_is(models: dict[str, Compiled]) -> None:
    rows = [row for row in models["resnet"].report if row["op"] == "aten::flatten"]
    assert [row["became"] for row in rows] == ["pass_through"]


def test_bounds_that_differ_by_element_stay_float() -> None:
    class Bounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.register_buffer("low", torch.randn(8, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.conv(torch.clamp(y, min=self.low)[:, :3]) + y

    compiled = Compiled(Bounded(), torch.randn(2, 3, 8, 8))
    assert "aten::clamp" in compiled.kinds
    assert compiled.error() < 0.03
