"""Quantizes each workload once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import pytest
import torch

import demo
import workloads


@dataclass
class Quantized:
    """A workload and its int8 module."""

    workload: workloads.Workload
    module: torch.jit.ScriptModule


@cache
def quantized(name: str) -> Quantized:
    """Load (train, the first time) and quantize with the default recipe."""
    workload = workloads.load(name)
    return Quantized(workload, demo.quantize(workload))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Measure and train on one thread, as the examples do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def quantize_workload(one_thread: None) -> Callable[[str], Quantized]:
    """The function above; a model is made only by the tests that use it."""
    return quantized


@pytest.fixture(scope="session", autouse=True)
def trained_models() -> None:
    """Train what the demo has not trained, all at once."""
    demo.train_all(list(workloads.NAMES))
