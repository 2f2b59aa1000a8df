"""SmoothQuant on an encoder with planted activation outliers, and its settings."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao.quantization import (
    MinMaxObserver,
    PerChannelMinMaxObserver,
)

import ipex_quant
from ipex_quant import QConfig
from ipex_quant.quantization import (
    convert,
    get_smooth_quant_qconfig,
    get_smooth_quant_qconfig_mapping,
    prepare,
)

OUTLIERS = [3, 17, 40]
TIMES = 50.0
PER_CHANNEL = torch.per_channel_affine
MIN_MAX = MinMaxObserver.with_args(dtype=torch.quint8, qscheme=torch.per_tensor_affine)
CHANNELS = PerChannelMinMaxObserver.with_args(
    dtype=torch.qint8, qscheme=torch.per_channel_symmetric
)


class Block(nn.Module):
    """A pre-norm encoder layer as BERT's: attention and a feed-forward network."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
        self.q, self.k, self.v = (nn.Linear(size, size) for _ in range(3))
        self.out = nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in self.parts())
        weights = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))

    def parts(self) -> tuple[nn.Module, ...]:
        return self.q, self.k, self.v


def encoder(blocks: int = 2, size: int = 64) -> nn.Module:
    """The float function is that of an ordinary encoder; some channels after a norm are huge."""
    torch.manual_seed(5)
    model = nn.Sequential(*(Block(size, 4) for _ in range(blocks))).eval()
    with torch.no_grad():
        for block in model:
            for norm, readers in (
                (block.norm, block.parts()),
                (block.norm2, (block.up,)),
            ):
                norm.weight[OUTLIERS] *= TIMES
                norm.bias[OUTLIERS] *= TIMES
                for reader in readers:
                    reader.weight[:, OUTLIERS] /= TIMES
    return model


def data(count: int = 6) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(9)
    return [torch.randn(4, 16, 64, generator=g) for _ in range(count)]


def prepared(model: nn.Module, qconfig: Any) -> nn.Module:
    ready = prepare(model, qconfig, example_inputs=data(1)[0])
    for x in data():
        ready(x)
    return ready


def error(model: nn.Module, converted: nn.Module) -> float:
    """Squared error of what the encoder adds to its input."""
    noise = signal = 0.0
    with torch.no_grad():
        for x in data(12)[6:]:
            expected = model(x)
            noise += float((converted(x) - expected).square().sum())
            signal += float((expected - x).square().sum())
    return noise / signal


def test_planted_outliers() -> None:
    """Plain int8 loses more than 10 times the error of SmoothQuant with the same observers."""
    model = encoder()
    plain = error(model, convert(prepared(model, QConfig(MIN_MAX, CHANNELS))))
    errors = {}
    for alpha in (0.5, "auto"):
        mapping = get_smooth_quant_qconfig_mapping(
            alpha=alpha, act_observer=MIN_MAX, wei_observer=CHANNELS
        )
        errors[alpha] = error(model, convert(prepared(model, mapping)))
    # Measured: plain 0.138, 0.5 0.00028, auto 0.00022.
    assert plain > 100 * errors[0.5]
    assert plain > 100 * errors["auto"]
    assert errors["auto"] < errors[0.5] < 0.0006


def test_the_default_observers_smooth_as_well() -> None:
    model = encoder()
    smooth = error(model, convert(prepared(model, get_smooth_quant_qconfig_mapping())))
    assert smooth < 0.0008  # measured 0.00041
    assert smooth < error(model, convert(prepared(model, QConfig(MIN_MAX, CHANNELS)))) / 100


def factors_of(ready: nn.Module, tmp_path: Any) -> dict[str, list[float] | None]:
    ready.save_qconf_summary(qconf_summary=str(tmp_path / "s.json"))
    sites = json.loads((tmp_path / "s.json").read_text())["sites"]
    return {
        s["site"].split("/")[0]: s["operands"]["input"]["channel_factor"]
        for s in sites
        if "/linear/" in s["site"]
    }


def test_the_factor_is_the_formula_and_shared(tmp_path: Any) -> None:
    model = encoder(1)
    mapping = get_smooth_quant_qconfig_mapping(alpha=0.4, act_observer=MIN_MAX)
    factors = factors_of(prepared(model, mapping), tmp_path)
    assert factors["0.q"] == factors["0.k"] == factors["0.v"]
    assert None not in factors.values()
    block = model[0]
    x = torch.cat([block.norm(x).flatten(0, 1) for x in data()])
    weights = torch.stack([part.weight.abs().amax(0) for part in block.parts()]).amax(0)
    expected = x.abs().amax(0) ** 0.4 / weights**0.6
    torch.testing.assert_close(torch.tensor(factors["0.q"]), expected, rtol=1e-5, atol=0)


def test_not_shared_and_alpha_per_layer(tmp_path: Any) -> None:
    model = encoder(1)
    own = get_smooth_quant_qconfig_mapping(act_observer=MIN_MAX, share_weight_observers=False)
    own.set_module_name("0.down", get_smooth_quant_qconfig(alpha=1.0))
    own.set_module_name("0.out", ipex_quant.default_static_qconfig)
    ready = prepared(model, own)
    factors = factors_of(ready, tmp_path)
    assert factors["0.q"] != factors["0.k"] and factors["0.out"] is None
    down = torch.tensor(factors["0.down"])
    with torch.no_grad():
        block, largest = model[0], []
        block.down.register_forward_pre_hook(lambda _, a: largest.append(a[0].abs().flatten(0, 1)))
        for x in data():
            model(x)
    torch.testing.assert_close(down, torch.cat(largest).amax(0), rtol=1e-4, atol=0)
    assert error(model, convert(ready)) < 0.003  # alpha 1 leaves unseen values no room


def test_observers_of_channels() -> None:
    model = encoder(1)
    of_channels = {
        "act_ic_observer": PerChannelMinMaxObserver.with_args(ch_axis=-1, qscheme=PER_CHANNEL),
        "wei_ic_observer": PerChannelMinMaxObserver.with_args(ch_axis=1, qscheme=PER_CHANNEL),
    }
    given = get_smooth_quant_qconfig_mapping(act_observer=MIN_MAX, **of_channels)
    default = get_smooth_quant_qconfig_mapping(act_observer=MIN_MAX)
    x = data(1)[0]
    converted = [convert(prepared(model, mapping)) for mapping in (given, default)]
    assert torch.equal(converted[0](x), converted[1](x))


@pytest.mark.parametrize("alpha", [-0.1, 1.5, "best", True, float("nan"), [0.5], None])
def test_a_wrong_alpha(alpha: Any) -> None:
    with pytest.raises(ValueError, match='alpha must be a number from 0 to 1 or "auto"'):
        get_smooth_quant_qconfig_mapping(alpha=alpha)


def test_wrong_observers() -> None:
    with pytest.raises(ValueError, match="act_ic_observer: HistogramObserver has no min_val"):
        get_smooth_quant_qconfig(act_ic_observer=ipex_quant.observers.HistogramObserver.with_args())
    with pytest.raises(ValueError, match="weight observer of the global rule: dtype"):
        prepare(encoder(1), get_smooth_quant_qconfig_mapping(wei_observer=MIN_MAX), data(1)[0])
    whole = get_smooth_quant_qconfig_mapping(wei_ic_observer=MIN_MAX)
    with pytest.raises(ValueError, match="wei_ic_observer gave 1 channels for 64 input channels"):
        convert(prepared(encoder(1), whole))
