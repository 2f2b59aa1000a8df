"""Times calls of functions side by side."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def best_times(*competitors: Callable[[int], torch.Tensor], seconds: float) -> list[float]:
    """Best mean time of a stretch of calls of each competitor, a function of their number.

    Each runs once at least, whatever the seconds.
    """
    best = [float("inf")] * len(competitors)
    end = time.perf_counter() + seconds
    calls = [1] * len(competitors)
    while True:
        for i, function in enumerate(competitors):
            begin = time.perf_counter()
            function(calls[i])
            mean = (time.perf_counter() - begin) / calls[i]
            best[i] = min(best[i], mean)
            calls[i] = max(1, int(1e-3 / best[i]))  # stretches of a millisecond
        if time.perf_counter() >= end:
            return best
