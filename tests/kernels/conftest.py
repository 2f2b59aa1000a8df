"""Fixtures of the kernel tests: every ISA of this machine, several thread counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from ipex_quant import _C
from kernel_reference import available_isas

Run = Callable[[], Any]


@pytest.fixture(params=available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Cap the kernels at one ISA for the length of a test."""
    _C.set_isa_cap(request.param)
    yield request.param
    _C.set_isa_cap("")


@pytest.fixture(params=[name for name in available_isas() if not name.endswith(("vnni", "amx"))])
def vector_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same for kernels that have no form with VNNI or AMX."""
    _C.set_isa_cap(request.param)
    yield request.param
    _C.set_isa_cap("")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads; the tests of threads set their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def same_for_all_threads() -> Iterator[Callable[[Run], torch.Tensor]]:
    """A function that runs its argument on 1, 2, 3 and 8 threads and checks that the bits agree."""
    before = torch.get_num_threads()

    def check(run: Run) -> torch.Tensor:
        results = []
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            results.append(run())
        for threads, result in zip((2, 3, 8), results[1:], strict=True):
            assert result.stride() == results[0].stride()
            assert result.numpy().tobytes() == results[0].numpy().tobytes(), f"{threads} threads"
        return results[0]

    yield check
    torch.set_num_threads(before)
