"""What the recipe decides for the sites of a model, read from its summary."""

from __future__ import annotations

from typing import Any

from torch import nn

import ipex_quant
from ipex_quant import prepared


def summary(
    model: nn.Module, data: list[Any], qconfig: Any = ipex_quant.default_static_qconfig
) -> dict[str, dict[str, Any]]:
    """Entries by site after calibration."""
    ready = ipex_quant.prepare(model.eval(), qconfig, data[0])
    for x in data:
        ready(x)
    found = prepared.session_of(ready).finalise(ready)
    return {entry["site"]: entry for entry in found["sites"]}
