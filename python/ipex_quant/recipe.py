"""The recipe: from what calibration observed to the qparams and the decision of every site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ipex_quant import factors, observers, ops, qconfig, smooth_quant, state
from ipex_quant.calibration import Calibrator, Operand, Site
from ipex_quant.errors import QuantizationError, listing
from ipex_quant.measure import Probe
from ipex_quant.plan import Plan

#: Runs the model on the kept inputs and hands every call to the function.
Measure = Callable[[Callable[[str, str, str, list], None]], None]


def summarize(
    calibrator: Calibrator, opaque: list[str], measure: Measure, *, bias_correction: bool = True
) -> dict[str, Any]:
    """The summary of a calibrated model (the JSON object of `ipex_quant.state`).

    ``bias_correction``: take the mean error of each output channel off the bias.

    Raises:
        QuantizationError: no calibration call was made; a site was never reached, or saw NaN or
            infinity; an observer gives no usable qparams.
    """
    sites = list(calibrator.sites.values())
    _check_calibrated(calibrator, sites)
    plans = {site.key: Plan(site) for site in sites}
    _scale_weights(list(plans.values()))
    _measure_and_choose(plans, measure, bias_correction)
    entries = [plan.entry() for plan in plans.values()]
    return state.summary(entries, opaque)


def _measure_and_choose(plans: dict[str, Plan], measure: Measure, bias_correction: bool) -> None:
    """Ranges, factors, corrections and decisions by the error of each site's output."""
    probes = {key: plan.probe() for key, plan in plans.items() if plan.wants_probe()}
    if not probes:
        return
    smooth = smooth_quant.find_groups(plans)
    others = {key: plan for key, plan in plans.items() if not smooth_quant.wants(plan)}
    groups = [*smooth, *factors.find_groups(others)]
    firsts = {group.plans[0].key: group for group in groups}

    def event(key: str, _family: str, op: str, args: list) -> None:
        if key in probes:
            probes[key].event(op, args)
        if key in firsts:
            firsts[key].observe(args)

    measure(event)
    _choose_ranges(plans, probes)
    tried = [g for g in groups if g in smooth or factors.noisy(g, probes)]
    _try_factors(tried, probes, measure)
    _choose_rows(plans, probes)
    for key, probe in probes.items():
        plans[key].conclude(probe, bias_correction=bias_correction)


def _try_factors(
    groups: list[factors.FactorGroup], probes: dict[str, Probe], measure: Measure
) -> None:
    def trial(group: factors.FactorGroup, plan: Plan) -> Probe:
        before = probes[plan.key].variants
        again = {name: v.fresh() for name, v in before.items() if name in ("plan", "dynamic")}
        return Probe(plan.site, {**again, **group.variants(plan)})

    trials = {plan.key: trial(group, plan) for group in groups for plan in group.plans}
    if not trials:
        return

    def event(key: str, _family: str, op: str, args: list) -> None:
        if key in trials:
            trials[key].event(op, args)

    measure(event)
    for group in groups:
        group.choose(trials)
    probes.update(trials)


def _check_calibrated(calibrator: Calibrator, sites: list[Site]) -> None:
    waiting = [site for site in sites if _needs_calibration(site)]
    if waiting and calibrator.forwards == 0:
        raise QuantizationError(
            "the prepared model was not calibrated; call it on representative inputs "
            "(`for x in data: prepared(x)`) or load a summary with load_qconf_summary() first"
        )
    silent = [s.key for s in waiting if any(_silent(o) for o in s.operands.values())]
    if silent:
        raise QuantizationError(
            f"these sites saw no values in calibration: {listing(silent)}; give inputs that reach "
            "them, or keep them float with a QConfigMapping"
        )
    spoilt = [
        f"{site.key!r} operand {name!r}: {operand.problem}"
        for site in waiting
        for name, operand in site.operands.items()
        if operand.problem and operand.kind == "activation" and site.family in ops.ANCHORS
    ]
    if spoilt:
        raise QuantizationError(
            "calibration saw values that have no range: "
            + "; ".join(spoilt)
            + "; check the calibration inputs, or keep these sites float with a QConfigMapping"
        )


def _needs_calibration(site: Site) -> bool:
    return site.qconfig is not None and any(
        o.kind == "activation" and not qconfig.is_dynamic(o.observer)
        for o in site.operands.values()
    )


def _silent(operand: Operand) -> bool:
    return operand.kind == "activation" and operand.seen == 0 and not operand.problem


def _scale_weights(plans: list[Plan]) -> None:
    """Scales of all weights; sites that read one weight share them, so that it is packed once."""
    groups: dict[tuple, list[tuple[Plan, str]]] = {}
    for plan in plans:
        if not plan.reason:
            for name, operand in plan.weights():
                key = (operand.source, operand.axis, id(operand.factory))
                groups.setdefault(key, []).append((plan, name))
    for members in groups.values():
        plan, name = members[0]
        site, operand = plan.site, plan.site.operands[name]
        observer = operand.factory()
        weight = operand.tensor
        if not bool(torch.isfinite(weight).all()):
            for other, _ in members:
                other.reason = f"weight {name!r} holds NaN or infinite values"
            continue
        rows = site.form.to_rows(weight)
        if isinstance(observer, observers.WeightObserver):
            observer.importance = _importance(members, rows)
            observer.covariance = _covariance(members)
        scales = site.form.scales_from_rows(observers.weight_scales(observer, rows))
        for other, other_name in members:
            other.scales[other_name] = scales
            other.site.operands[other_name].observer = observer


def _importance(members: list[tuple[Plan, str]], rows: torch.Tensor) -> torch.Tensor | None:
    """Mean square of the input that meets each weight of a linear or convolution."""
    if members[0][0].site.family not in ("linear", "addmm", "conv"):
        return None
    totals, count = [], 0
    for plan, _ in members:
        operand = plan.site.operands.get("input")
        if operand is None or operand.channel_square is None or operand.largest == 0:
            return None
        totals.append(operand.channel_square)
        count += operand.rows
    return members[0][0].site.form.per_row(torch.stack(totals).sum(0) / count, rows)


def _covariance(members: list[tuple[Plan, str]]) -> torch.Tensor | None:
    """Covariance of the inputs of a small convolution; None for others and for shared weights."""
    operand = members[0][0].site.operands.get("input")
    if len(members) > 1 or operand is None or operand.windows is None:
        return None
    return operand.windows.covariance().float()


def _choose_ranges(plans: dict[str, Plan], probes: dict[str, Probe]) -> None:
    """Per observer, which of its ranges gives the best outputs at all sites that share it."""
    shares: dict[int, list[tuple[Plan, str]]] = {}
    for plan in plans.values():
        for name, others in plan.others.items():
            if others:
                observer = id(plan.site.operands[name].observer)
                shares.setdefault(observer, []).append((plan, name))
    for members in shares.values():
        measured = [(plan, name) for plan, name in members if plan.key in probes]
        kinds = {kind.split()[-1] for plan, name in members for kind in plan.others[name]}

        def gain(kind: str, measured: list[tuple[Plan, str]] = measured) -> float:
            total = 0.0
            for plan, name in measured:
                probe = probes[plan.key]
                variant = probe.variants.get(f"{name} {kind}", probe.variants["plan"])
                change = probe.variants["plan"].noise - variant.noise
                total += change / max(probe.signal, 1e-38)
            return total

        best = max(sorted(kinds), key=gain)
        if gain(best) > 0:
            for plan, name in members:
                _take(plan, name, f"{name} {best}", probes)


def _choose_rows(plans: dict[str, Plan], probes: dict[str, Probe]) -> None:
    """Scales of rows for the values that all linear and recurrent layers read better with them."""
    readers: dict[int, list[Plan]] = {}
    for key in probes:
        if plans[key].site.family in ops.ROW_SCALED:
            observer = plans[key].site.operands["input"].observer
            readers.setdefault(id(observer), []).append(plans[key])
    for found in readers.values():
        if all(
            plan.gains_by_rows(probes[plan.key]) and not smooth_quant.wants(plan) for plan in found
        ):
            for plan in found:
                plan.take_rows(probes[plan.key])


def _take(plan: Plan, name: str, variant: str, probes: dict[str, Probe]) -> None:
    if variant in plan.others[name]:
        plan.ranges[name] = plan.others[name][variant]
        if plan.key in probes:
            variants = probes[plan.key].variants
            variants["plan"] = variants[variant]
