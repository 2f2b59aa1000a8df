"""A rule that fits nothing in the model is an error or a warning that names what there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.ao import quantization as theirs

from ipex_quant import (
    QConfigMapping,
    default_dynamic_qconfig,
    default_static_qconfig,
)
from ipex_quant.quantization import autotune, prepare


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.soft, self.fc = nn.Softmax(-1), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x)).mean((2, 3))
        return self.soft(self.fc(y) + y)


X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))

Change = Callable[[QConfigMapping], QConfigMapping]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda m: m.set_object_type("lineer", None),
            r"object type 'lineer' fits no operator of the model .* are 'linear'",
        ),
        (lambda m: m.set_object_type(3, None), "object type '3' fits no operator"),
        (
            lambda m: m.set_module_name_regex("head.*", None),
            r"set_module_name_regex\('head.\*'\) matches the path of no module; .* 'conv', 'fc'",
        ),
        (
            lambda m: m.set_module_name_object_type_order("", torch.add, 1, None),
            r"order\('', add, 1\) fits no call; directly in that module are 'add 0'",
        ),
        (
            lambda m: m.set_module_name_object_type_order("fc", nn.Conv2d, 0, None),
            r"order\('fc', Conv2d, 0\) fits no call; directly in that module are 'linear 0'",
        ),
        (
            lambda m: m.set_module_name_object_type_order("soft", nn.Softmax, 0, None),
            r"order\('soft', Softmax, 0\) fits no call; directly in that module are none",
        ),
    ],
)
def test_unused(change: Change, words: str) -> None:
    mapping = change(QConfigMapping().set_global(default_static_qconfig))
    with pytest.raises(ValueError, match=words):
        prepare(Net().eval(), mapping, X)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda m: m.set_object_type(nn.Conv1d, None),
            r"set_object_type\(Conv1d\) fits no module of the model, which has 'Conv2d'",
        ),
        (
            lambda m: m.set_object_type(nn.PReLU, None),
            r"set_object_type\(PReLU\) fits no module",
        ),
        (lambda m: m.set_object_type(torch.matmul, None), "object type 'matmul' fits no operator"),
        (lambda m: m.set_object_type("aten::mul", None), "object type 'aten::mul' fits no"),
    ],
)
def test_of_other_models(change: Change, words: str) -> None:
    mapping = change(QConfigMapping().set_global(default_static_qconfig))
    with pytest.warns(UserWarning, match=words) as caught:
        prepare(Net().eval(), mapping, X)
    assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.set_object_type(nn.Conv2d, None),
        lambda m: m.set_object_type(nn.BatchNorm2d, None),  # folded
        lambda m: m.set_object_type("batch_norm", None),
        lambda m: m.set_object_type(torch.softmax, None),  # of a module without sites
        lambda m: m.set_object_type("conv", None).set_object_type(torch.add, None),
        lambda m: m.set_module_name_regex("", None),
        lambda m: m.set_module_name_regex("f", None).set_object_type(nn.Linear, None),
        lambda m: m.set_module_name_object_type_order("", torch.add, 0, None),
        lambda m: m.set_module_name_object_type_order("fc", nn.Linear, 0, None),
    ],
)
def test_used(change: Change) -> None:
    prepare(Net().eval(), change(QConfigMapping().set_global(default_static_qconfig)), X)


@pytest.mark.parametrize("example", [None, torch.randn(2, 8)])
def test_dynamic(example: torch.Tensor | None) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()
    mapping = QConfigMapping().set_global(default_dynamic_qconfig)
    mapping.set_object_type("linear", None).set_object_type(nn.Linear, None)
    prepare(model, mapping.set_module_name_object_type_order("0", nn.Linear, 0, None), example)
    with pytest.warns(UserWarning, match="object type 'gru' fits no operator"):
        prepare(model, mapping.set_object_type("gru", None), example)


@pytest.mark.filterwarnings("ignore:Please use quant_min and quant_max to specify the range")
def test_what_was_added_to_a_stock_mapping() -> None:
    mapping = theirs.get_default_qconfig_mapping("x86").set_object_type("lineer", None)
    with pytest.raises(ValueError, match="object type 'lineer' fits no operator"):
        prepare(Net().eval(), mapping, X)


def test_autotune() -> None:
    with pytest.raises(ValueError, match="object type 'matmull' fits no operator"):
        autotune(
            Net().eval(),
            [X],
            eval_func=lambda model: 1.0,
            op_type_dict={"MatMull": {"activation": {"dtype": ["fp32"]}}},
            progress=False,
        )
