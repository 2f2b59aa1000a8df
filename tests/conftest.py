"""What all tests share: a fixed seed, and skipping a test whose instruction set is missing."""

from __future__ import annotations

import pytest
import torch

from ipex_quant import _C


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test starts from the same random numbers."""
    torch.manual_seed(0)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """So does every test file, which may have random constants, whichever were read before it."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip `@pytest.mark.isa(name)` where the CPU is weaker than `name`."""
    names = _C.isa_names()
    for mark in item.iter_markers("isa"):
        if names.index(mark.args[0]) > names.index(_C.cpu_isa()):
            pytest.skip(f"needs {mark.args[0]}, this CPU has {_C.cpu_isa()}")
