"""autotune keeps 99.9 % of the metric of real models."""

from __future__ import annotations

import pytest

import autotune_workloads
import workloads

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

#: Without the two that take minutes; their rows in docs/autotune.md are from
#: ``python examples/autotune_workloads.py --only effnet_lite0 --only minilm``.
NAMES = [name for name in workloads.NAMES if name not in ("effnet_lite0", "minilm")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("one_thread")
def test_the_criterion_is_met(name: str) -> None:
    """From the default recipe, and the metric of the converted model is that of the trial."""
    row = autotune_workloads.tune(workloads.load(name), autotune_workloads.QCONFIGS["default"])
    assert row.met
    assert row.tuned >= row.baseline * (1 - autotune_workloads.CRITERION) - 1e-6
