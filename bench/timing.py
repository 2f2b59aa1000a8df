"""Times calls of functions side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


def as_written(script: Callable[..., torch.Tensor], *inputs: Any) -> Callable[[int], torch.Tensor]:
    """A scripted loop as a function of its last argument, the number of its rounds."""

    def run(n: int) -> torch.Tensor:
        # The optimizer would unroll the loop and drop the calls that repeat one another.
        with torch.jit.optimized_execution(False):
            return script(*inputs, n)

    return run


def best_times(*competitors: Callable[[int], torch.Tensor], seconds: float) -> list[float]:
    """Best mean time of a stretch of calls of each competitor, a function of their number."""
    best = [float("inf")] * len(competitors)
    end = time.perf_counter() + seconds
    calls = [1] * len(competitors)
    while time.perf_counter() < end:
        for i, function in enumerate(competitors):
            begin = time.perf_counter()
            function(calls[i])
            mean = (time.perf_counter() - begin) / calls[i]
            best[i] = min(best[i], mean)
            calls[i] = max(1, int(1e-3 / best[i]))  # stretches of a millisecond
    return best
