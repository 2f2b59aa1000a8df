"""fuse, fuse-norms and bind: an op they make gives, from equal inputs, the numbers it replaced."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compile_models import Gated, Inception, MobileNet, ResNet, Speech, SqueezeExcite
from compile_tools import Compiled
from ipex_quant import _C
from step_by_step import Step, name_values, steps


class Encoder(nn.Module):
    """Two transformer layers after an embedding, with a padding mask (BERT)."""

    def __init__(self, width: int = 48, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.words = nn.Embedding(60, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(self._layer(width) for _ in range(2))

    @staticmethod
    def _layer(width: int) -> nn.ModuleDict:
        made = {name: nn.Linear(width, width) for name in "qkvo"}
        made |= {"up": nn.Linear(width, 4 * width), "down": nn.Linear(4 * width, width)}
        return nn.ModuleDict({**made, "ln1": nn.LayerNorm(width), "ln2": nn.LayerNorm(width)})

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        b, t = ids.shape
        bias = (1.0 - (ids > 0)[:, None, None, :].to(torch.float32)) * -10000.0
        x = self.norm(self.words(ids))
        for layer in self.layers:
            q, k, v = (
                layer[n](x).view(b, t, self.heads, -1).transpose(1, 2) for n in ("q", "k", "v")
            )
            a = q @ k.transpose(-1, -2) / (x.shape[-1] // self.heads) ** 0.5 + bias
            c = (a.softmax(-1) @ v).transpose(1, 2).reshape(b, t, -1)
            x = layer["ln1"](x + layer["o"](c))
            x = layer["ln2"](x + layer["down"](F.gelu(layer["up"](x))))
        return x.mean(1)


def image(*shape: int) -> torch.Tensor:
    return torch.randn(shape)


def ids(batch: int) -> torch.Tensor:
    tokens = torch.randint(1, 60, (batch, 11))
    tokens[0, 7:] = 0
    return tokens


# model, one sample for the ranges (they are coarse then), other inputs, fused ops at least
MODELS = {
    "encoder": (Encoder, lambda: ids(1), lambda: ids(5), 17),
    "resnet": (ResNet, lambda: image(1, 3, 64, 64), lambda: 2 * image(4, 3, 64, 64), 10),
    "mobilenet": (MobileNet, lambda: image(1, 3, 40, 40), lambda: 2 * image(4, 3, 40, 40), 11),
    "squeeze_excite": (SqueezeExcite, lambda: image(1, 3, 20, 20), lambda: image(4, 3, 20, 20), 7),
    "inception": (Inception, lambda: image(1, 3, 16, 16), lambda: image(4, 3, 16, 16), 8),
    "speech": (Speech, lambda: image(1, 7, 20), lambda: 2 * image(3, 7, 20), 2),
    "gated": (Gated, lambda: image(1, 7, 20), lambda: 2 * image(3, 7, 20), 2),
}


class Stages:
    """The graph of one model before fuse and after each pass from there, on inputs it never saw."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        make, sample, other, self.least = MODELS[name]
        compiled = Compiled(make(), sample())
        self.before = compiled.normalized._get_method("forward").graph.copy()
        for row in ("insert-quant-dequant", "split-shared-dequantize", "propagate"):
            _C.run_compile_pass(row, self.before, compiled.sites)
        name_values(self.before)
        self.fused = self.before.copy()
        _C.run_compile_pass("fuse", self.fused, compiled.sites)
        self.normed = self.fused.copy()
        _C.run_compile_pass("fuse-norms", self.normed, compiled.sites)
        self.bound = self.normed.copy()
        _C.run_compile_pass("bind", self.bound, compiled.sites)
        self.inputs = [compiled.module, other()]


@pytest.fixture(scope="module")
def stages() -> dict[str, Stages]:
    return {name: Stages(name) for name in MODELS}


RECURRENT = ("ipex_quant::lstm", "ipex_quant::gru")


def is_fused(step: Step) -> bool:
    single = ("quantize", "dequantize", "quantize_weight", "dequantize_weight")
    space, _, op = step.kind.partition("::")
    return space == "ipex_quant" and op not in single


def float_limit(step: Step) -> float:
    """Relative difference of a float result that is only rounding."""
    if not is_fused(step):
        return 0.0
    # A recurrent kernel quantizes its hidden state, which stays float in the graph before.
    return 5e-3 if step.kind in RECURRENT else 1e-5


def share_limit(step: Step) -> float:
    """Share of the codes that may differ: values within float rounding of a middle of two steps."""
    return 0.25 if step.kind in RECURRENT else 0.005


@pytest.mark.parametrize("name", MODELS)
def test_fused_ops_differ_by_one_step_at_most(stages: dict[str, Stages], name: str) -> None:
    found = steps(stages[name].before, stages[name].fused, stages[name].inputs)
    assert sum(map(is_fused, found)) >= stages[name].least, Counter(step.kind for step in found)
    for step in found:
        what = f"{step.kind} {step.name}"
        if not step.is_codes:
            assert step.largest_difference() <= float_limit(step), what
            continue
        assert step.largest_difference() <= float(is_fused(step)), what
        assert (step.before != step.after).float().mean() <= share_limit(step), what


def test_fused_norms_differ_by_one_step_at_most(stages: dict[str, Stages]) -> None:
    stage = stages["encoder"]
    found = steps(stage.fused, stage.normed, stage.inputs)
    kinds = Counter(step.kind for step in found)
    assert (kinds["ipex_quant::softmax"], kinds["ipex_quant::layer_norm"]) == (2, 8)
    for step in found:
        is_norm = step.kind in ("ipex_quant::softmax", "ipex_quant::layer_norm")
        limit = 0.0 if not is_norm else 1.0 if step.is_codes else 1e-6
        assert step.largest_difference() <= limit, f"{step.kind} {step.name}"
        assert not step.is_codes or (step.before != step.after).float().mean() <= 0.005


@pytest.mark.parametrize("name", MODELS)
def test_bound_ops_are_equal(stages: dict[str, Stages], name: str) -> None:
    found = steps(stages[name].normed, stages[name].bound, stages[name].inputs)
    assert sum(map(is_fused, found)) >= stages[name].least
    for step in found:
        assert torch.equal(step.before, step.after), f"{step.kind} {step.name}"
