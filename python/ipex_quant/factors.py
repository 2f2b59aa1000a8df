"""Factors per input channel, for layers whose channels one 8-bit scale serves badly.

``W x = (W F)(F^-1 x)``: the input is divided by a factor per channel before it is quantized, and
the weight takes it back. The factors come from the input alone, so that all layers that read one
value divide it once. That costs a multiplication per element; so it must pay, and for inputs that
the factors were not made from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import torch

from ipex_quant import observers, ops
from ipex_quant.histogram import Histogram, affine
from ipex_quant.measure import Probe, Variant
from ipex_quant.plan import Plan

#: What to try: the exponent of each channel's share of the largest value, and its least factor.
#: Exponent 1 makes the channels equally large; silent ones may wake up after calibration.
_TRIALS = {f"factor {e} {c}": (e, c) for e, c in ((0.75, 1e-3), (1.0, 0.05), (1.0, 1e-3))}
#: Only where the output of a layer is noisier than this (dB) ...
_BELOW = 33.0
#: ... and the noise falls below this share, and on inputs that the factors were not made from at
#: least does not rise.
_WORTHWHILE = 0.5
#: Enough values for a histogram.
_ENOUGH = 1 << 18


def _factor(largest: torch.Tensor, exponent: float, least: float) -> torch.Tensor:
    share = largest / largest.max()
    return share.clamp_min(least) ** exponent


def _unseen(name: str) -> str:
    """Name of the variant that measures a factor on inputs that it was not made from."""
    return f"{name}, unseen"


class FactorGroup:
    """The layers that read one value, and the factors tried for it."""

    def __init__(self, plans: list[Plan]) -> None:
        self.plans = plans
        operand = plans[0].site.operands["input"]
        assert operand.channel_max is not None
        self.largest = largest = operand.channel_max
        self.largest_of_calls: list[torch.Tensor] = []
        self.factors = {name: _factor(largest, *trial) for name, trial in _TRIALS.items()}
        self.histograms = {name: Histogram() for name in self.factors}
        self.symmetric = operand.observer.symmetric

    def observe(self, args: list[Any]) -> None:
        """Take the input of a call of the first layer."""
        site = self.plans[0].site
        index = 1 if site.family == "addmm" else 0
        columns = ops.input_channels(site.family, args, args[index].detach())
        assert columns is not None
        if columns.numel() == 0:
            return
        self.largest_of_calls.append(columns.abs().amax(0))
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
        """One way to quantize the layer for each of the factors, and for each as unseen inputs
        would find it."""
        found = {}
        for name, factor in self.factors.items():
            weight = self._weight_rounding(plan, factor)
            rounding = self._input_rounding(plan, name, repeat(factor))
            found[name] = Variant({"input": rounding, "weight": weight})
            unseen = self._unseen_factors(name)
            if unseen:
                rounding = self._input_rounding(plan, name, iter(unseen))
                found[_unseen(name)] = Variant({"input": rounding, "weight": weight})
        return found

    def _unseen_factors(self, name: str) -> list[torch.Tensor]:
        """What the factor were without the one or other of the kept calls, in their order.

        Where few values of a call are large, as of the first token of a text, the largest of a
        channel says little of the next one: a factor that follows it cuts that one off.
        """
        if name not in _TRIALS or len(self.largest_of_calls) < 2:
            return []
        calls = self.largest_of_calls
        first, second = torch.stack(calls).topk(2, 0).values
        left = [self.largest.where((c < first) | (c < self.largest), second) for c in calls]
        return [_factor(largest, *_TRIALS[name]) for largest in left]

    def _input_rounding(
        self, plan: Plan, name: str, factors: Iterator[torch.Tensor]
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Rounding of the input, by the next of the factors in each call."""
        weight = plan.site.operands["weight"].tensor
        assert weight is not None
        shape = (-1, *[1] * (weight.dim() - 2 if plan.site.family == "conv" else 0))
        scale, zero = self.qparams(name)

        def rounded(x: torch.Tensor) -> torch.Tensor:
            factor = next(factors).reshape(shape)
            return ops.quantize_dequantize(x / factor, scale, zero) * factor

        return rounded

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

        plain = noise("plan")
        unseen = len(self.largest_of_calls) > 1
        lasting = [f for f in self.factors if not unseen or noise(_unseen(f)) <= plain]
        best = min(lasting, key=noise, default="plan")
        if noise(best) >= _WORTHWHILE * plain:
            return
        self.take(best, probes)

    def take(self, name: str, probes: dict[str, Probe]) -> None:
        """Give the layers these factors."""
        for plan in self.plans:
            factor = self.factors[name]
            plan.take_factor(factor, self.qparams(name), self.scales(plan, factor))
            probes[plan.key].variants["plan"] = probes[plan.key].variants[name]


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
    if not alone or not observers.is_free(observer):
        return False
    largest = operand.channel_max
    return (
        plan.modes["input"] == "static"
        and largest is not None
        and float(largest.max()) > 2 * float(largest.median())
    )


def noisy(group: FactorGroup, probes: dict[str, Probe]) -> bool:
    """Whether a layer of the group has a noisy output without factors."""
    found = [probes[plan.key] for plan in group.plans]
    return any(p.sqnr(p.variants["plan"].noise) < _BELOW for p in found)
