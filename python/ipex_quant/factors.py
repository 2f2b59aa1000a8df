"""Factors per input channel, for layers whose channels one 8-bit scale serves badly.

``W x = (W F)(F^-1 x)``: the input is divided by a factor per channel before it is quantized, and
the weight takes it back. The factors come from the input alone, so that all layers that read one
value divide it once. That costs a multiplication per element; so it must pay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ipex_quant import observers, ops
from ipex_quant.histogram import Histogram, affine
from ipex_quant.measure import Probe, Variant
from ipex_quant.plan import Plan

#: What to try: the exponent of each channel's share of the largest value, and its least factor.
#: Exponent 1 makes the channels equally large; silent ones may wake up after calibration.
_TRIALS = ((0.75, 1e-3), (1.0, 0.05), (1.0, 1e-3))
#: Only where the output of a layer is noisier than this (dB) ...
_BELOW = 33.0
#: ... and the noise falls below this share.
_WORTHWHILE = 0.5
#: Enough values for a histogram.
_ENOUGH = 1 << 18


class FactorGroup:
    """The layers that read one value, and the factors tried for it."""

    def __init__(self, plans: list[Plan]) -> None:
        self.plans = plans
        operand = plans[0].site.operands["input"]
        assert operand.channel_max is not None
        share = operand.channel_max / operand.channel_max.max()
        self.factors = {f"factor {e} {c}": share.clamp_min(c) ** e for e, c in _TRIALS}
        self.histograms = {name: Histogram() for name in self.factors}
        self.symmetric = operand.observer.symmetric

    def observe(self, args: list[Any]) -> None:
        """Take the input of a call of the first layer."""
        site = self.plans[0].site
        index = 1 if site.family == "addmm" else 0
        columns = ops.input_channels(site.family, args, args[index].detach())
        assert columns is not None
        columns = columns[:: max(1, columns.numel() // _ENOUGH)]
        for name, factor in self.factors.items():
            self.histograms[name].update(columns / factor)

    def qparams(self, name: str) -> tuple[float, int]:
        """Scale and zero point of the divided input."""
        low, high = self.histograms[name].least_error_range(self.symmetric)
        bounds = torch.tensor([low, high], dtype=torch.float64)
        scale, zero = affine(bounds[0], bounds[1], self.symmetric)
        return float(scale.float()), int(zero)

    def variants(self, plan: Plan) -> dict[str, Variant]:
        """One way to quantize the layer for each of the factors."""
        return {
            name: Variant(
                {
                    "input": self._input_rounding(plan, name),
                    "weight": self._weight_rounding(plan, factor),
                }
            )
            for name, factor in self.factors.items()
        }

    def _input_rounding(self, plan: Plan, name: str) -> Callable[[torch.Tensor], torch.Tensor]:
        weight = plan.site.operands["weight"].tensor
        assert weight is not None
        shape = (-1, *[1] * (weight.dim() - 2 if plan.site.family == "conv" else 0))
        factor = self.factors[name].reshape(shape)
        scale, zero = self.qparams(name)
        return lambda x: ops.quantize_dequantize(x / factor, scale, zero) * factor

    def _weight_rounding(
        self, plan: Plan, factor: torch.Tensor
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        form = plan.site.form
        rounding = plan.weight_rounding(self.scales(plan, factor))

        def rounded(weight: torch.Tensor) -> torch.Tensor:
            rows = form.to_rows(weight)
            spread = form.per_row(factor, rows)
            return form.from_rows(form.to_rows(rounding(form.from_rows(rows * spread))) / spread)

        return rounded

    def scales(self, plan: Plan, factor: torch.Tensor) -> torch.Tensor:
        """Scales of a layer's weight after it took the factor."""
        operand, form = plan.site.operands["weight"], plan.site.form
        rows = form.to_rows(operand.tensor)
        observer = plan.site.qconfig.weight()
        if isinstance(observer, observers.WeightObserver):
            square = plan.site.operands["input"].mean_square() / factor.square()
            observer.importance = form.per_row(square, rows)
        rows = rows * form.per_row(factor, rows)
        return form.scales_from_rows(observers.weight_scales(observer, rows))

    def choose(self, probes: dict[str, Probe]) -> None:
        """Give the layers the best of the factors if it pays, by what the probes measured."""

        def noise(name: str) -> float:
            found = [probes[plan.key] for plan in self.plans]
            return sum(p.variants[name].noise / max(p.signal, 1e-38) for p in found)

        best = min(self.factors, key=noise)
        if noise(best) >= _WORTHWHILE * noise("plan"):
            return
        for plan in self.plans:
            plan.factor = self.factors[best]
            plan.ranges["input"] = self.qparams(best)
            plan.scales["weight"] = self.scales(plan, plan.factor)
            probes[plan.key].variants["plan"] = probes[plan.key].variants[best]


def find_groups(plans: dict[str, Plan]) -> list[FactorGroup]:
    """The values that layers read whose channels differ enough for factors to make sense."""
    readers: dict[int, list[Plan]] = {}
    weights: dict[tuple | None, list[Plan]] = {}
    for plan in plans.values():
        if plan.site.family in ops.ANCHORS and not plan.reason:
            for _, operand in plan.activations():
                readers.setdefault(id(operand.observer), []).append(plan)
            for _, operand in plan.weights():
                weights.setdefault(operand.source, []).append(plan)
    return [
        FactorGroup(found)
        for found in readers.values()
        if all(_takes_factor(plan, weights) for plan in found)
    ]


def _takes_factor(plan: Plan, weights: dict[tuple | None, list[Plan]]) -> bool:
    site = plan.site
    operand = site.operands.get("input")
    if site.family not in ("linear", "addmm", "conv") or operand is None:
        return False
    alone = len(weights[site.operands["weight"].source]) == 1  # it is packed once for all readers
    observer = operand.observer
    if not alone or not isinstance(observer, observers.HistogramObserver):
        return False
    largest = operand.channel_max
    return (
        observer.method == "mse"
        and plan.modes["input"] == "static"
        and largest is not None
        and float(largest.max()) > 2 * float(largest.median())
    )


def noisy(group: FactorGroup, probes: dict[str, Probe]) -> bool:
    """Whether a layer of the group has a noisy output without factors."""
    found = [probes[plan.key] for plan in group.plans]
    return any(p.sqnr(p.variants["plan"].noise) < _BELOW for p in found)
