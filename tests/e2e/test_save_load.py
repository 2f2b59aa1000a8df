"""Saved models: same bits in a fresh process, int8 size, clear errors for what cannot be loaded."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

import ipex_quant

pytestmark = pytest.mark.e2e


class Small(nn.Module):
    """A convolution, a residual, a pool and two linears."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, padding=1)
        self.again = nn.Conv2d(32, 32, 3, padding=1)
        self.wide = nn.Linear(32, 256)
        self.out = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, 3, h, w] -> [n, 10]."""
        y = torch.relu(self.conv(x))
        y = torch.relu(y + self.again(y))
        y = torch.flatten(nn.functional.adaptive_avg_pool2d(y, 1), 1)
        return self.out(torch.nn.functional.gelu(self.wide(y)))


@pytest.fixture(scope="module")
def example() -> torch.Tensor:
    """One batch."""
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def quantized(example: torch.Tensor) -> torch.jit.ScriptModule:
    """Small, quantized."""
    torch.manual_seed(0)
    prepared = ipex_quant.prepare(
        Small().eval(), ipex_quant.default_static_qconfig, example_inputs=(example,)
    )
    with torch.no_grad():
        prepared(example)
        return ipex_quant.jit.quantize(torch.jit.trace(prepared, example))


@pytest.fixture
def saved(quantized: torch.jit.ScriptModule, tmp_path: Path) -> Path:
    """Small in a file."""
    path = tmp_path / "model.pt"
    quantized.save(str(path))
    return path


def run(script: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """A fresh Python process."""
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_fresh_process_gives_the_same_bits(
    quantized: torch.jit.ScriptModule, saved: Path, example: torch.Tensor, tmp_path: Path
) -> None:
    """Load where only `import ipex_quant` happened, run, compare."""
    with torch.no_grad():
        torch.save((example, quantized(example)), tmp_path / "example.pt")
    done = run(
        """
        import sys
        import torch
        import ipex_quant
        x, expected = torch.load(sys.argv[2])
        got = torch.jit.load(sys.argv[1])(x)
        assert torch.equal(got, expected), (got - expected).abs().max()
        """,
        saved,
        tmp_path / "example.pt",
    )
    assert done.returncode == 0, done.stderr


def test_saving_twice_is_stable(saved: Path, example: torch.Tensor, tmp_path: Path) -> None:
    """A loaded module can be saved again and still gives the same bits."""
    first = torch.jit.load(str(saved))
    first.save(str(tmp_path / "again.pt"))
    second = torch.jit.load(str(tmp_path / "again.pt"))
    with torch.no_grad():
        assert torch.equal(first(example), second(example))


def test_any_batch_and_image_size(saved: Path) -> None:
    """The traced shape is not baked in; an empty batch gives an empty result."""
    module = torch.jit.load(str(saved))
    with torch.no_grad():
        for shape in ((1, 3, 16, 16), (5, 3, 9, 31), (0, 3, 16, 16)):
            assert module(torch.randn(shape)).shape == (shape[0], 10)


def test_weights_are_stored_once_as_int8(saved: Path) -> None:
    """The file is about a quarter of the float one: no second copy, no packed bytes."""
    parameters = sum(p.numel() for p in Small().parameters())
    overhead = 40_000  # code, qparams, per-channel scales and the report
    assert saved.stat().st_size < parameters + overhead


def test_without_the_library_torch_names_it(saved: Path) -> None:
    """A process that did not import ipex_quant gets torch's error with our name in it."""
    done = run("import sys, torch; torch.jit.load(sys.argv[1])", saved)
    assert done.returncode != 0
    assert "ipex_quant" in done.stderr


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.98])
def test_truncated_file_is_an_error(saved: Path, keep: float) -> None:
    """No crash, whatever part of the file is missing."""
    data = saved.read_bytes()
    saved.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(RuntimeError):
        torch.jit.load(str(saved))


def test_corrupted_bytes_never_crash(saved: Path, example: torch.Tensor, tmp_path: Path) -> None:
    """Each flipped byte gives an error or a module that runs; the process survives."""
    script = """
        import random, sys
        import torch
        import ipex_quant
        data = bytearray(open(sys.argv[1], "rb").read())
        x = torch.load(sys.argv[2])
        random.seed(0)
        for _ in range(60):
            broken = bytearray(data)
            for _ in range(3):
                broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
            open(sys.argv[3], "wb").write(broken)
            try:
                torch.jit.load(sys.argv[3])(x)
            except Exception:
                pass  # which one depends on what the byte meant; only a crash is wrong
        """
    torch.save(example, tmp_path / "x.pt")
    done = run(script, saved, tmp_path / "x.pt", tmp_path / "broken.pt")
    assert done.returncode == 0, done.stderr[-2000:]


def test_newer_version_is_a_clear_error(saved: Path, tmp_path: Path) -> None:
    """A file of a later ipex_quant says so instead of being misread."""
    import zipfile

    target = tmp_path / "newer.pt"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith("constants.pkl"):
                data = _with_version(data, 250)
            new.writestr(info.filename, data)
    with pytest.raises(RuntimeError, match="version"):
        torch.jit.load(str(target))


def _with_version(pickled: bytes, version: int) -> bytes:
    """Replace the version 1 that each packed object's state begins with."""
    made = b")\x81("  # an object without arguments, then the tuple of its state
    assert made + b"K\x01" in pickled
    return pickled.replace(made + b"K\x01", made + b"K" + bytes([version]))
