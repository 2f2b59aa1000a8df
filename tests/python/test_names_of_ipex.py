"""IPEX's users change one import line: their arguments keep position and name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from ipex_quant import default_static_qconfig, quantization
from ipex_quant.quantization import convert, prepare

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(3))
OBSERVERS = ["act_observer", "act_ic_observer", "wei_observer", "wei_ic_observer"]


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (
            prepare,
            [
                *("model", "configure", "example_inputs", "inplace", "bn_folding"),
                "example_kwarg_inputs",
            ],
        ),
        (convert, ["model", "inplace"]),
        (
            quantization.get_smooth_quant_qconfig_mapping,
            ["alpha", *OBSERVERS, "share_weight_observers"],
        ),
        (
            quantization.autotune,
            [
                *("model", "calib_dataloader", "calib_func", "eval_func", "op_type_dict"),
                *("sampling_sizes", "accuracy_criterion", "tuning_time"),
            ],
        ),
    ],
)
def test_arguments(function: Callable, names: list[str]) -> None:
    parameters = inspect.signature(function).parameters.values()
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == names


@pytest.mark.parametrize("name", ["configure", "qconfig"])
def test_a_model_by_keywords(name: str, tmp_path: Path) -> None:
    file = str(tmp_path / "configure.json")
    ready = prepare(model=model(), **{name: default_static_qconfig}, example_inputs=X)
    ready(X)
    ready.save_qconf_summary(qconf_summary=file)
    ready.load_qconf_summary(qconf_summary=file)
    assert (convert(model=ready)(X) - ready(X)).abs().max() < 0.1


def test_one_configuration() -> None:
    with pytest.raises(TypeError, match="give configure or qconfig, which mean the same, not both"):
        prepare(model(), default_static_qconfig, X, qconfig=default_static_qconfig)
    with pytest.raises(TypeError, match="prepare needs configure: it must be a QConfig or a"):
        prepare(model(), example_inputs=X)
