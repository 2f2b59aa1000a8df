"""Int8 with the default recipe is as accurate as float on every workload."""

from __future__ import annotations

import pytest

import workloads

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

LARGEST_LOSS = 0.01


@pytest.mark.parametrize("name", workloads.NAMES)
def test_metric_is_that_of_float(name: str, quantize_workload) -> None:
    """The primary metric loses at most 1 % (absolute)."""
    q = quantize_workload(name)
    key = q.workload.primary
    expected = q.workload.metric(q.workload.model)[key]
    got = q.workload.metric(q.module)[key]
    assert got >= expected - LARGEST_LOSS, f"{name}: {key} {got:.4f}, float {expected:.4f}"
