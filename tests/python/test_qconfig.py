"""QConfig and QConfigMapping: which rule wins, and what is refused."""

from __future__ import annotations

import operator
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao.quantization import observer as torch_observers

from ipex_quant import QConfig, QConfigMapping, default_static_qconfig, qconfig
from ipex_quant.observers import HistogramObserver, MinMaxObserver, WeightObserver

A, B, C, D, E = (QConfig(MinMaxObserver.with_args(), WeightObserver.with_args()) for _ in range(5))


def site(path: str, op: str, index: int = 0, types: tuple = ()) -> qconfig.SiteQuery:
    family = "conv" if "conv" in op else op
    return qconfig.SiteQuery(path, family, f"aten::{op}", index, types)


def choose(mapping: QConfigMapping, *args: Any, **kwargs: Any) -> Any:
    return qconfig.choose(mapping, site(*args, **kwargs))[0]


def test_the_most_special_rule_wins() -> None:
    mapping = (
        QConfigMapping()
        .set_global(A)
        .set_object_type(nn.Linear, B)
        .set_module_name_regex("enc.*", C)
        .set_module_name("enc.fc", D)
        .set_module_name_object_type_order("enc.fc", torch.matmul, 1, E)
    )
    assert choose(mapping, "head", "conv2d") is A
    assert choose(mapping, "head", "linear", types=(nn.Linear,)) is B
    assert choose(mapping, "enc.x", "linear", types=(nn.Linear,)) is C
    assert choose(mapping, "enc.fc", "linear", types=(nn.Linear,)) is D
    assert choose(mapping, "enc.fc", "matmul", 0) is D
    assert choose(mapping, "enc.fc", "matmul", 1) is E


def test_none_keeps_float_and_names_its_rule() -> None:
    mapping = QConfigMapping().set_global(A).set_module_name("fc", None)
    assert qconfig.choose(mapping, site("fc", "linear")) == (None, "set_module_name('fc')")
    assert choose(mapping, "fc2", "linear") is A


def test_a_module_name_holds_for_all_inside() -> None:
    mapping = QConfigMapping().set_global(A).set_module_name("enc", B).set_module_name("enc.0", C)
    assert choose(mapping, "enc.1.fc", "linear") is B
    assert choose(mapping, "enc.0.fc", "linear") is C
    assert choose(mapping, "encoder", "linear") is A


@pytest.mark.parametrize(
    ("kind", "op"),
    [
        (torch.add, "add"),
        (operator.add, "add_"),
        (operator.iadd, "add_"),
        (torch.Tensor.add_, "add"),
        ("add", "add"),
        ("aten::add", "add"),
        (nn.functional.conv2d, "conv2d"),
        ("conv", "conv3d"),
        (operator.matmul, "matmul"),
    ],
)
def test_object_type_may_be_a_function(kind: Any, op: str) -> None:
    mapping = QConfigMapping().set_global(A).set_object_type(kind, B)
    assert choose(mapping, "", op) is B
    assert choose(mapping, "", "gelu") is A


def test_object_type_of_a_container_holds_inside_and_the_nearest_wins() -> None:
    class Block(nn.Module):
        pass

    mapping = QConfigMapping().set_global(A).set_object_type(Block, B)
    assert choose(mapping, "b.fc", "linear", types=(nn.Linear, Block)) is B
    mapping.set_object_type(nn.Linear, C)
    assert choose(mapping, "b.fc", "linear", types=(nn.Linear, Block)) is C
    # A loaded trace knows the names of the classes only.
    assert choose(mapping, "b.fc", "linear", types=("Linear", "Block")) is C


def test_torch_mappings_and_qconfigs_work() -> None:
    from torch.ao.quantization import QConfig as TorchQConfig
    from torch.ao.quantization import QConfigMapping as TorchMapping

    own = TorchQConfig(
        activation=torch_observers.MinMaxObserver.with_args(dtype=torch.quint8),
        weight=torch_observers.PerChannelMinMaxObserver.with_args(
            dtype=torch.qint8, qscheme=torch.per_channel_symmetric
        ),
    )
    theirs = TorchMapping().set_global(own).set_module_name("fc", None)
    mapping = qconfig.as_mapping(theirs)
    assert choose(mapping, "x", "linear") is own
    assert choose(mapping, "fc", "linear") is None
    assert choose(qconfig.as_mapping(own), "x", "linear") is own


@pytest.mark.parametrize(
    ("activation", "weight", "message"),
    [
        (
            {},
            torch_observers.MinMaxObserver.with_args(dtype=torch.quint8),
            "dtype must be torch.quint8 or torch.qint8|dtype must be torch.qint8",
        ),
        (
            {},
            torch_observers.PerChannelMinMaxObserver.with_args(
                dtype=torch.qint8, qscheme=torch.per_channel_affine
            ),
            "qscheme must be torch.per_tensor_symmetric or torch.per_channel_symmetric, got "
            "torch.per_channel_affine",
        ),
        ({"dtype": torch.qint32}, None, "dtype must be torch.quint8 or torch.qint8, got"),
        (
            {"factory": WeightObserver.with_args()},
            None,
            "per-channel activations are not supported",
        ),
        ({"factory": MinMaxObserver()}, None, "must be an observer class or the result of"),
        ({"factory": partial(nn.ReLU)}, None, "ReLU has no method calculate_qparams"),
    ],
)
def test_unsupported_observers_are_refused(activation: dict, weight: Any, message: str) -> None:
    factory = activation.get("factory") or MinMaxObserver.with_args(**activation)
    config = QConfig(factory, weight or WeightObserver.with_args())
    with pytest.raises(ValueError, match=message):
        qconfig.as_mapping(config)


def test_the_place_of_a_bad_rule_is_named() -> None:
    bad = QConfig(MinMaxObserver.with_args(dtype=torch.float16), WeightObserver)
    with pytest.raises(ValueError, match="module_name 'fc'"):
        qconfig.as_mapping(QConfigMapping().set_global(A).set_module_name("fc", bad))
    with pytest.raises(ValueError, match="set_module_name_regex"):
        qconfig.as_mapping(QConfigMapping().set_module_name_regex("(", None))
    with pytest.raises(TypeError, match="must be a QConfig or a QConfigMapping, got str"):
        qconfig.as_mapping("int8")


def test_the_defaults_are_error_minimising() -> None:
    assert isinstance(default_static_qconfig.activation(), HistogramObserver)
    assert isinstance(default_static_qconfig.weight(), WeightObserver)
    assert not qconfig.wants_dynamic(qconfig.as_mapping(default_static_qconfig))
