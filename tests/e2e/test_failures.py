"""A compilation that fails leaves the module that it was given, and the files, as they were."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ipex_quant
from ipex_quant import QuantizationError, state

pytestmark = pytest.mark.e2e


@pytest.fixture
def traced() -> Any:
    torch.manual_seed(0)
    x = torch.randn(4, 16)
    model = nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 4)).eval()
    prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, x)
    with torch.no_grad():
        prepared(x)
        return torch.jit.trace(prepared, x)


def everything(module: Any) -> tuple[str, list[torch.Tensor]]:
    """The graphs and tensors of a module."""
    return str(module.inlined_graph), [t.clone() for t in module.state_dict().values()]


def assert_unchanged(module: Any, before: tuple[str, list[torch.Tensor]]) -> None:
    text, tensors = everything(module)
    assert text == before[0]
    assert all(torch.equal(a, b) for a, b in zip(tensors, before[1], strict=True))


def test_an_error_in_a_pass(traced: Any) -> None:
    """Here of the first pass of the back half, on the last linear layer."""
    before, x = everything(traced), torch.randn(4, 16)
    expected = ipex_quant.jit.quantize(traced)(x)
    summary = state.read_buffer(traced)
    assert summary is not None
    wrong = json.loads(json.dumps(summary))
    wrong["sites"][-1]["operands"]["weight"]["scale"] = [0.1] * 7
    with pytest.raises(QuantizationError, match=r"pass 'insert-quant-dequant': .*scale"):
        ipex_quant.jit.from_summary(traced, wrong)
    assert_unchanged(traced, before)
    assert torch.equal(ipex_quant.jit.quantize(traced)(x), expected)


class Net(nn.Module):
    """Something for most passes to change."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.lstm = nn.LSTM(16, 16, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.layer_norm = nn.LayerNorm(16)
        self.drop = nn.Dropout()
        self.fc = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(nn.functional.pad(x, (1, 1, 1, 1))))
        y = (y * torch.sigmoid(y)).flatten(2).transpose(1, 2)
        y = self.layer_norm(self.lstm(y)[0])
        y = y + self.attention(y, y, y, need_weights=False)[0]
        return nn.functional.glu(self.drop(self.fc(y)).relu_())


def test_an_error_behind_any_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pass that changes the graph does so, then cannot write its dump; the folder stays clean.

    A folder in the place of its file is what stops it.
    """
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 6)
    prepared = ipex_quant.prepare(Net().eval(), ipex_quant.default_static_qconfig, x)
    with torch.no_grad():
        prepared(x)
        traced = torch.jit.trace(prepared, x)
    before = everything(traced)
    all_passes = tmp_path / "all"
    all_passes.mkdir()
    monkeypatch.setenv("IPEX_QUANT_DUMP_IR", str(all_passes))
    expected = ipex_quant.jit.quantize(traced)(x)
    names = sorted(file.name for file in all_passes.iterdir())
    changed = {name[3:-3] for name in names}
    assert changed > {"inline-calls", "assign-sites", "freeze", "fold-pad", "fuse", "bind"}
    for name in names:
        folder = tmp_path / name
        (folder / name / "inside").mkdir(parents=True)
        monkeypatch.setenv("IPEX_QUANT_DUMP_IR", str(folder))
        with pytest.raises(QuantizationError, match=f"cannot write .*{name}"):
            ipex_quant.jit.quantize(traced)
        assert_unchanged(traced, before)
        assert not list(folder.glob("*.tmp"))
    monkeypatch.delenv("IPEX_QUANT_DUMP_IR")
    assert torch.equal(ipex_quant.jit.quantize(traced)(x), expected)


def test_memory_that_runs_out_while_packing(tmp_path: Path) -> None:
    """The address space is limited for one call; without the limit the module compiles."""
    script = """
        import json, resource, sys, torch
        import ipex_quant
        from torch import nn

        torch.set_num_threads(1)
        torch.manual_seed(0)
        x = torch.randn(2, 2048)
        model = nn.Sequential(*[nn.Linear(2048, 2048) for _ in range(4)]).eval()
        prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, x)
        with torch.no_grad():
            prepared(x)
            traced = torch.jit.trace(prepared, x)
        before = [t.clone() for t in traced.state_dict().values()]
        graph = str(traced.inlined_graph)
        saved = sys.argv[1]
        prepared.save_qconf_summary(saved)
        text = open(saved).read()

        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        failures = 0
        for more in range(0, 160, 8):  # MB: it runs out at one place after the other
            resource.setrlimit(resource.RLIMIT_AS, (used + (more << 20), resource.RLIM_INFINITY))
            try:
                ipex_quant.jit.quantize(traced)
            except (RuntimeError, MemoryError) as error:
                failures += 1
            finally:
                resource.setrlimit(
                    resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                )
            assert str(traced.inlined_graph) == graph
            now = traced.state_dict().values()
            assert all(torch.equal(a, b) for a, b in zip(now, before))
        assert failures > 3, failures
        assert open(saved).read() == text
        quantized = ipex_quant.jit.quantize(traced)
        assert (quantized(x) - model(x)).abs().max() < 0.1
        print("unchanged")
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), str(tmp_path / "a.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "unchanged", done.stderr[-3000:]
