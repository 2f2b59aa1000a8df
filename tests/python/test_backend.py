"""The check of the torch version, the report object, and what the package offers."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import _backend


def test_another_torch_is_an_import_error() -> None:
    _backend.check_torch("2.13.0", "2.13.1+cpu")
    with pytest.raises(ImportError, match=r"built for torch 2\.13\.0, but torch 2\.14\.0\+cpu"):
        _backend.check_torch("2.13.0", "2.14.0+cpu")


def test_the_package_offers_what_it_lists() -> None:
    for name in ipex_quant.__all__:
        assert hasattr(ipex_quant, name)
    assert ipex_quant.__version__ == _backend.version()
    assert ipex_quant.isa() == _backend.isa()


def test_an_error_in_the_callback_is_raised_after_the_block() -> None:
    def fail(*_args: object) -> None:
        raise KeyError("seen")

    with pytest.raises(KeyError, match="seen"), _backend.recording(fail):
        torch.relu(torch.ones(2))
    with _backend.recording(lambda *_args: None):
        torch.relu(torch.ones(2))


def test_the_report_lists_every_operator() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), nn.Softmax(-1)).eval()
    x = torch.randn(8, 4)
    ready = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, x)
    ready(x)
    report = ipex_quant.report(ipex_quant.convert(ready))
    assert [row.op for row in report] == [
        "aten::linear",
        "aten::relu",
        "aten::linear",
        "aten::softmax",
    ]
    assert [row.became for row in report][-1] == "float"
    assert report.rows[-1].reason
    assert report.counts()["float"] == 1
    assert json.loads(report.to_json()) == report.to_dict()
    assert "aten" not in str(report)
    assert "softmax 0" in str(report)


def test_a_module_without_report_is_refused() -> None:
    with pytest.raises(TypeError, match="Linear has no report"):
        ipex_quant.report(nn.Linear(2, 2))
