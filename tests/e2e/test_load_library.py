"""The runtime library alone, in a process that never imports ipex_quant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import ipex_quant

LIBRARY = Path(ipex_quant.__file__).parent / "lib" / "libipex_quant_runtime.so"
RUN = """
import sys
import torch
{load}
module = torch.jit.load(sys.argv[1])
x, expected = torch.load(sys.argv[2])
assert torch.equal(module(x), expected)
assert not [name for name in sys.modules if "ipex_quant" in name]
print("equal")
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A quantized module and an (input, expected) pair."""
    folder = tmp_path_factory.mktemp("library")
    torch.manual_seed(0)
    x = torch.randn(4, 16)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    prepared = ipex_quant.prepare(model, ipex_quant.default_static_qconfig, x)
    with torch.no_grad():
        prepared(x)
        quantized = ipex_quant.jit.quantize(torch.jit.trace(prepared, x))
        torch.save((x, quantized(x)), folder / "example.pt")
    quantized.save(str(folder / "model.pt"))
    return folder / "model.pt", folder / "example.pt"


def run(load: str, saved: tuple[Path, Path], **environment: str) -> str:
    script = RUN.format(load=load)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *map(str, saved)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or done.stderr


def test_load_library(saved: tuple[Path, Path]) -> None:
    """As a TorchServe handler does it."""
    assert run(f"torch.ops.load_library({str(LIBRARY)!r})", saved) == "equal"


def test_preloaded(saved: tuple[Path, Path]) -> None:
    """As a host does that cannot be changed, such as Triton's PyTorch backend."""
    torch_libraries = str(Path(torch.__file__).parent / "lib")
    got = run("", saved, LD_PRELOAD=str(LIBRARY), LD_LIBRARY_PATH=torch_libraries)
    assert got == "equal"


def test_without_it_the_module_does_not_load(saved: tuple[Path, Path]) -> None:
    assert "ipex_quant" in run("", saved)
