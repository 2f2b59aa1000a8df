"""Runs a portable file where this package is not imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

_SCRIPT = """
import sys, torch
model, io = torch.jit.load("p.pt"), torch.load("io.pt")
with torch.no_grad():
    results = model(io["x"])
pairs = zip(results, io["y"], strict=True) if isinstance(results, tuple) else [(results, io["y"])]
assert all(torch.equal(a, b) for a, b in pairs)
assert not [name for name in sys.modules if name.startswith("ipex_quant")]
print("same")
"""


def check_alone(portable: Any, x: torch.Tensor, folder: Path) -> None:
    """Check that a new process gets the same bits for x from the file alone."""
    portable.save(folder / "p.pt")
    with torch.no_grad():
        torch.save({"x": x, "y": portable(x)}, folder / "io.pt")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SCRIPT],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "same\n", done.stderr
